package machinelearning

import (
	"fmt"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/runner"
)

// errCluster is a fault of the compute or its cluster: the code is a detail of
// the provider's envelope, as the troubleshooting page shows it for
// KubernetesUnaccessible. Codes and texts are those of the page on Kubernetes
// compute.
func errCluster(code, format string, args ...any) *httpx.Error {
	e := arm.BadRequest("BadRequest", "The request is invalid.")
	e.Details = []httpx.Error{{Code: code, Message: fmt.Sprintf(format, args...)}}
	return e
}

func errComputeNotFound() *httpx.Error {
	return errCluster("ComputeNotFound", "Cannot find Kubernetes compute.")
}

func errComputeInvalid() *httpx.Error {
	return errCluster("InvalidComputeInformation", "The compute information is invalid.")
}

// The grammar is Azure's.
const clusterNotFound = "Cannot found Kubernetes cluster."

func errClusterNotFound() *httpx.Error { return errCluster("ClusterNotFound", clusterNotFound) }

// errClusterFailed is how an attachment fails for the same reason.
func errClusterFailed() *httpx.Error { return arm.BadRequest("ClusterNotFound", clusterNotFound) }

// errEndpointExists: the rule and the code are documented, the text is ours.
func errEndpointExists() *httpx.Error {
	return errCluster("EndpointAlreadyExists", "An endpoint with this name already exists in the cluster. The name must be unique per workspace and per cluster.")
}

// errSpec: the code is documented, the text ours.
func errSpec(format string, args ...any) *httpx.Error {
	return errCluster("InvalidDeploymentSpec", format, args...)
}

// clusterFailure ends a Kubernetes deployment with one of its own codes.
func clusterFailure(code, format string, args ...any) *httpx.Error {
	return deploymentError(code, "error-"+strings.ToLower(code), format, args...)
}

// fromClusterFailure is fromFailure with the codes Kubernetes deployments have
// of their own. A script's are told apart by what the inference server says of
// it.
func fromClusterFailure(f *runner.Failure, script bool) *httpx.Error {
	message := f.Message
	if f.Log != "" {
		message += "\n\n" + f.Log
	}
	var code string
	switch {
	case f.Kind == runner.ImageFailed:
		code = "ImagePullLoopBackOff"
	case f.Kind != runner.Crashed:
		return fromFailure(f)
	case script:
		code = scriptFault(f.Log)
	default:
		code = "DeploymentCrashLoopBackOff"
	}
	return clusterFailure(code, "%s", message).Because(f.Cause)
}

// scriptFault reads the inference server's own words (version 1.5).
func scriptFault(log string) string {
	says := func(part string) bool { return strings.Contains(log, part) }
	switch {
	case says("does not have a init() function defined"), says("does not have a run() function defined"):
		return "UserScriptFunctionNotFound"
	case says("Failed to import user script"):
		return "UserScriptImportError"
	case says("Caught an unhandled exception from the user script"), says("User's init function failed"):
		return "UserScriptInitFailed"
	}
	return "DeploymentCrashLoopBackOff"
}
