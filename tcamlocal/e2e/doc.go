// Package e2e runs package tcamlocal against a container engine: the emulator's
// image with deployments as containers beside it, driven by the Azure SDK for Go.
package e2e
