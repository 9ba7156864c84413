// Package tcamlocal runs the emulator as a container of a test, in the manner of
// testcontainers' own modules: Run starts it, Terminate removes it with every
// deployment it made. Clients get at it by HTTPClient, ClientOptions and
// Credential, which any Azure SDK for Go takes, or by Env for a program the test
// starts.
//
// The image is made by `make image`; deployments are containers beside the
// emulator's, made through the engine's socket, so their images must be in the
// engine. The port is published on 127.0.0.1 of the engine's machine, which must
// be the test's own.
//
// Where testcontainers' reaper cannot be pulled, set
// TESTCONTAINERS_RYUK_DISABLED=true. A test that is killed leaves the containers;
// with the reaper, which removes the emulator by force, its deployments stay
// until the next emulator starts in a container.
//
// Linked into users' tests only: the emulator's own program must not depend on
// it.
package tcamlocal
