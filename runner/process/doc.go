// Package process runs instances as child processes of the emulator, for
// machines without a container engine: in a sandbox of Linux namespaces where
// Config.Sandbox asks for it and the machine allows it, else as plain children.
//
// A scoring script runs in a virtual environment made from the environment's
// conda file (package conda translates it; wheels only), served by the real
// azureml-inference-server-http. The image is not used: what it would bring
// beyond the conda file is absent, and the deployment's log says so. An
// environment that brings its own server names an image that Config.Images
// maps to a command line.
//
// In the sandbox (package sandbox) an instance finds what a container would:
// Azure's paths, ports of its own, an identity endpoint and IMDS that know it,
// and names that lead to the emulator or nowhere. It has no proxy variables. Its
// Target is an address of this machine that stands for its scoring port;
// DialContext goes there without the detour. Code and models that only root may
// read are copied for it where the emulator is root. A mapped command sees /usr,
// its own file and the files its arguments name.
//
// A sandboxed instance outlives the emulator's process when that is killed, and
// the Backend of the next one can take it over (runner.Adopter;
// docs/decisions/0013): Inherit keeps those of the revisions asked for, Adopt
// takes one, Disown ends the others.
//
// The rest of this comment is about plain children.
//
// Layout of an instance: StateDir/instances/ID/root is what would be "/" in
// the container; mounts are symbolic links below it, and variables that hold
// paths are rewritten to it. Folder names are Azure's
// (wire/endpoint-behaviour.md 2.1). The working folder is AML_APP_ROOT, as the
// curated images' start script has it.
//
// Ports: a container has its ports to itself, a child does not. The inference
// server is handed listening sockets that the emulator has bound on loopback
// (the socket-activation protocol gunicorn understands), so no other process
// can take its port and none outside the machine can reach it; left alone it
// would listen on all addresses. A server brought along is told its port: in
// its command line {port} stands for the scoring port and {port:8081} for the
// one that replaces the container's port 8081, and the environment has
// AMLOCAL_PORT_8081. It should listen on 127.0.0.1 only.
//
// One thing differs from the inference server alone: the root logger's level is
// AZUREML_LOG_LEVEL, INFO by default, so that the logging.info() lines of the
// documented scripts reach the log.
//
// Data path: HTTPS_PROXY and the CA variables lead the code to the emulator.
// A deployment that sets one of them itself keeps its value and gets a warning
// in its log.
//
// What this is not: a security boundary. Children run as the emulator's user,
// can read each other's files and environment, can write to their mounts, and
// reach the network if they ignore the proxy variables. CPU and memory are not
// limited. The parent's own variables do not reach a child: its environment
// holds PATH, LANG, LC_ALL and TZ, a HOME and TMPDIR of its own, and the Spec.
//
// Left out: AZUREML_EXTRA_* dynamic installation, conda itself, Windows; in the
// sandbox also processor limits and a way to hosts that are not emulated.
package process
