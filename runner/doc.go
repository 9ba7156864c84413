// Package runner keeps deployments running: it builds their environments,
// starts instances on a Backend, probes them, restarts what crashed, keeps the
// old revision serving until the new one is ready, and holds their logs and
// identity secrets.
//
// It speaks no Azure and no HTTP dialect. arm/machinelearning turns a
// deployment resource into a Spec; gateway asks for Targets; msi asks Owner.
package runner
