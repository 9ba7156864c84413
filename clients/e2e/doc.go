// Package e2e runs the clients of other languages, unmodified, against an
// emulator: the scripts beside this folder are what a user would write, and
// know of no emulator. They are led to it by the variables of `amlocal env`
// over an otherwise clean environment, and by nothing else.
//
// The clients are installed into .cache/clients at the versions their folders
// pin, once; later runs need no network. What a machine cannot run is named as
// not run. docs/clients.md says what was run with which version.
package e2e
