// Package process runs instances as plain child processes of the emulator, for
// machines without a container engine.
//
// A scoring script runs in a virtual environment made from the environment's
// conda file (package conda translates it; wheels only), served by the real
// azureml-inference-server-http. The image is not used: what it would bring
// beyond the conda file is absent, and the deployment's log says so. An
// environment that brings its own server names an image that Config.Images
// maps to a command line.
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
// Left out: AZUREML_EXTRA_* dynamic installation, conda itself, Windows.
package process
