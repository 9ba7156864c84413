package runner

import _ "embed"

// Preload is Python that goes before everything else of what starts the
// inference server, in every back end. It defines _preload, to be called once
// amlserver is imported and before it runs: what the server needs of other
// packages is then imported faster, and once for all workers.
//
//go:embed preload.py
var Preload string
