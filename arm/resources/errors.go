package resources

import (
	"errors"
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/arm/resources/template"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
)

// What a deployment asks for that is not done here; codes are Azure's for a
// body it cannot use.
func errMode() *httpx.Error {
	return arm.BadRequest("InvalidRequestContent", "Deployments in Complete mode are not emulated by amlocal: use Incremental.")
}

func errLink() *httpx.Error {
	return arm.BadRequest("InvalidRequestContent", "Linked templates and parameters are not emulated by amlocal: send them in the request.")
}

func errNoTemplate() *httpx.Error {
	return arm.BadRequest("InvalidRequestContent", "The request content was invalid: the deployment has no template.")
}

func errInvalidMode(mode string) *httpx.Error {
	return arm.BadRequest("InvalidRequestContent", "The request content was invalid: the deployment mode '%s' is not known.", mode)
}

func errDeploymentScope(scope string) *httpx.Error {
	return arm.BadRequest("InvalidDeploymentScope", "Deployments at the scope '%s' are not emulated by amlocal: use a resource group or a subscription.", scope)
}

// errTemplate is the refusal of a template that cannot be used.
func errTemplate(err error) error {
	var bad *template.Error
	if !errors.As(err, &bad) {
		return err
	}
	return arm.BadRequest("InvalidTemplate", "Deployment template validation failed: '%s'.", strings.TrimRight(bad.Reason, ".")).Because(err)
}

func refusalText(res *template.Resource, who azure.Principal, check azure.Check) string {
	name := who.Name
	if who.AppID != "" {
		name = who.AppID
	}
	return "Authorization failed for template resource '" + res.Name + "' of type '" + res.Type + "'. The client '" + name + "' with object id '" + who.ObjectID +
		"' does not have permission to perform action '" + check.Action + "' at scope '" + check.Scope + "'."
}

// errTemplateRefused: the caller may not write what the template holds.
func errTemplateRefused(texts []string) *httpx.Error {
	if len(texts) == 1 {
		return arm.BadRequest("InvalidTemplateDeployment", "The template deployment failed with error: '%s'.", texts[0])
	}
	return arm.BadRequest("InvalidTemplateDeployment", "Deployment failed with multiple errors: '%s'", strings.Join(texts, ":"))
}

// errDeploymentFailed is how a deployment ends because a resource did not come
// into being.
func errDeploymentFailed(err error) *httpx.Error {
	var known *httpx.Error
	if errors.As(err, &known) {
		return known
	}
	out := arm.Conflict("DeploymentFailed",
		"At least one resource deployment operation failed. Please list deployment operations for details. Please see https://aka.ms/arm-deployment-operations for usage details.").Because(err)
	p := problemOf(err)
	out.Details = append(out.Details, *httpx.Errorf(http.StatusConflict, p.Code, "%s", p.Message))
	return out
}

func errDeploymentActive(name string) *httpx.Error {
	return arm.Conflict("DeploymentActive", "Unable to edit or replace deployment '%s': previous deployment is still active.", name)
}

func errDeploymentRunning(name string) *httpx.Error {
	return arm.Conflict("DeploymentBeingModified", "The deployment '%s' is running and cannot be deleted.", name)
}

func errDeploymentNotFound(name string) *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "DeploymentNotFound", "Deployment '%s' could not be found.", name)
}
