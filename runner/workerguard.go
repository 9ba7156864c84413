package runner

import _ "embed"

// WorkerGuard is Python that goes before what starts the inference server, in
// every back end: gunicorn starts a worker that died over and over, which would
// hide from a deployment that its script cannot start. Azure's image does not
// end there; its deployments fail when the probes have failed long enough.
//
//go:embed workerguard.py
var WorkerGuard string
