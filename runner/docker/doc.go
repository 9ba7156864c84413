// Package docker runs instances as containers of a Docker engine (API 1.41,
// engine 20.10, and later).
//
// What an instance sees is what it would see in Azure: its image's own user,
// command and ports, code and models read-only at Azure's paths, Azure's public
// names. Nothing is added to its image. Names are answered by our DNS server,
// reached through a resolv.conf of its own; they lead to the agent (package
// relay), which hands the connection to the emulator, where TLS ends with a
// certificate of our authority. Clients trust it by variables that name one
// read-only bundle (wire/runner.md section 2 has what each language reads).
// There are no proxy variables.
//
// Isolation: one internal network for each deployment, cut from a pool of our
// own; no way to other deployments, to the internet, or to the engine's
// machine. Who speaks is known by network and source address, so an identity
// secret is of no use elsewhere. Containers get no capability but those that
// programs starting as root need to become someone else, no new privileges, the
// memory and cores of their instance type (capped to the machine) and a limit
// on processes. Replicas of one deployment share a network and can reach each
// other.
//
// Files travel by the archive API into volumes, never by folders of the host:
// the engine's machine may be another (Docker Desktop, an emulator in a
// container). The one bind by path is resolv.conf, a file of one of our volumes,
// by the path the engine says that volume has. The engine's socket is never
// inside.
//
// Everything made bears the state folder's UUID (stateLabel) and is swept by it.
// The agent survives the emulator: the next one finds its key in the state
// folder, dials it and goes on. An emulator that is a container of the same engine
// finds that out, and meets the agent on a network the two have for themselves,
// where a process of the host comes by a published port.
//
// Sources: wire/runner.md sections 1, 2, 6, 8 (tried on engine 20.10.24);
// docs/decisions/0009 and 0012. Left out: IMDS at 169.254.169.254; GPUs; IPv6.
// Newer engines and Docker Desktop are reasoned about, not run.
package docker
