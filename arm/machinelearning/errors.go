package machinelearning

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/runner"
)

// errInvalid is the envelope this provider puts its own validations in: the
// reason is a detail whose message is a JSON string (as recorded).
func errInvalid(format string, args ...any) *httpx.Error {
	reason := fmt.Sprintf(format, args...)
	detail, _ := json.Marshal(map[string]any{ // a map of strings always encodes
		"errors": map[string][]string{"": {reason}},
		"title":  "One or more validation errors occurred.",
	})
	e := arm.BadRequest("BadRequest", "The request is invalid.")
	e.Details = []httpx.Error{{Code: "InferencingClientCallFailed", Message: string(detail)}}
	return e
}

// errConnection refuses a connection; their errors come from the workspace's
// provider, not from the endpoints' (the code is unverified).
func errConnection(format string, args ...any) *httpx.Error {
	return arm.BadRequest("ValidationError", format, args...)
}

func errNameTaken() *httpx.Error {
	return errInvalid("There is already an endpoint with this name, Endpoint name needs to be unique within a region. Try some other name.")
}

func errUnrecoverable(deployment string) *httpx.Error {
	return errInvalid("Specified deployment [%s] failed during initial provisioning and is in an unrecoverable state. Delete and re-create.", deployment)
}

func errEndpointNotReady(endpoint string) *httpx.Error {
	return errInvalid("Specified endpoint [%s] has not been created successfully. Please recreate the endpoint.", endpoint)
}

// errBusy is documented for Kubernetes endpoints and assumed for managed ones.
func errBusy(kind, name string) *httpx.Error {
	return arm.Conflict("Conflict", "There is an ongoing operation on the %s '%s'. Wait until it has completed and try again.", kind, name)
}

func errIdentityFixed() *httpx.Error {
	return errInvalid("The identity of an online endpoint cannot be changed after creation. Delete the endpoint and create it again with the other identity.")
}

func errTraffic(format string, args ...any) *httpx.Error { return errInvalid(format, args...) }

// errLinked is ARM's refusal to name a resource in target's body that the
// caller may not use.
func errLinked(d azure.Decision, target azure.ResourceID) *httpx.Error {
	name := d.Principal.Name
	if d.Principal.AppID != "" {
		name = d.Principal.AppID
	}
	return httpx.Errorf(http.StatusForbidden, "LinkedAuthorizationFailed",
		"The client '%s' with object id '%s' has permission to perform action '%s/write' on scope '%s'; however, it does not have permission to perform action(s) '%s' on the linked scope(s) '%s' (respectively) or the linked scope(s) are invalid.",
		name, d.Principal.ObjectID, target.Type(), target, d.Check.Action, d.Check.Scope)
}

const troubleshooting = "Please see troubleshooting guide, available here: https://aka.ms/oe-tsg"

// deploymentError is the public error of a deployment that failed, with the
// documented code and the actual reason. code and anchor are the
// troubleshooting page's.
func deploymentError(code, anchor, format string, args ...any) *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, code, "%s\n%s#%s", fmt.Sprintf(format, args...), troubleshooting, anchor)
}

// errDownload is an asset that is not there or may not be read. Without its
// context an image cannot be built.
func errDownload(a *asset, format string, args ...any) *httpx.Error {
	if a.kind == contextKind {
		return deploymentError("ImageBuildFailure", "error-imagebuildfailure", format, args...)
	}
	return deploymentError("BadArgument", "error-badargument", format, args...)
}

// fromFailure maps what the runner reports to the documented codes.
func fromFailure(f *runner.Failure) *httpx.Error {
	message := f.Message
	if f.Log != "" {
		message += "\n\n" + f.Log
	}
	var e *httpx.Error
	switch f.Kind {
	case runner.BuildFailed:
		e = deploymentError("ImageBuildFailure", "error-imagebuildfailure", "%s", message)
	case runner.ImageFailed:
		e = deploymentError("BadArgument", "error-badargument", "%s", message)
	case runner.Canceled:
		e = deploymentError("OperationCanceled", "error-operationcanceled", "%s", message)
	default:
		e = deploymentError("ResourceNotReady", "error-resourcenotready", "User container has crashed or terminated: %s", message)
	}
	return e.Because(f.Cause)
}
