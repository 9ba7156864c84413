package gateway

import (
	"fmt"
	"net/http"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
)

func withReason(e *httpx.Error, reason string) *httpx.Error {
	e.Header = http.Header{}
	setReason(e.Header, reason)
	return e
}

// errKeyDenied: recorded.
func errKeyDenied() *httpx.Error {
	return httpx.Errorf(http.StatusUnauthorized, "key_auth_access_denied", "key_auth_access_denied")
}

// errKeyHeader: the text is recorded for a malformed header; its status, and
// that a missing header gets the same, are assumed.
func errKeyHeader() *httpx.Error {
	return httpx.Errorf(http.StatusUnauthorized, "key_auth_bad_header_forbidden", "key_auth_bad_header_forbidden")
}

// errTokenHeader: the status is documented, the text ours.
func errTokenHeader() *httpx.Error {
	return httpx.Errorf(http.StatusUnauthorized, "token_missing", "The Authorization header must be 'Bearer' and one access token.")
}

// errTokenDenied: the status is documented, the text ours. Why the token is
// refused is for the audit log.
func errTokenDenied(cause error) *httpx.Error {
	return httpx.Errorf(http.StatusUnauthorized, "token_denied", "The access token is not valid for this endpoint.").Because(cause)
}

// errScoreDenied: Microsoft's status table puts a missing score permission
// under 401; the text is ours.
func errScoreDenied(status int, d azure.Decision) *httpx.Error {
	return httpx.Errorf(status, "score_denied", "The identity of the access token may not score at this endpoint.").
		Because(fmt.Errorf("%s lacks %s at %s", d.Principal.Name, d.Check.Action, d.Check.Scope))
}

// errNoRoute: recorded, the link in brackets included.
func errNoRoute() *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "no_route", "%s",
		"No valid deployments to route to. Please check that the endpoint has at least one deployment with positive weight values or use a deployment specific header to route. "+
			"[https://docs.microsoft.com/en-us/azure/machine-learning/how-to-safely-rollout-managed-endpoints#deploy-a-new-model-but-send-it-no-traffic-yet]\n"+help)
}

// errUnknownDeployment: the text is recorded, the status assumed.
func errUnknownDeployment() *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "unknown_deployment", "%s", "Specified deployment could not be found\n"+help)
}

// errNoEndpoint is for an endpoint deleted after its name resolved; in Azure
// the name would not resolve. Text ours.
func errNoEndpoint(host string) *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "unknown_endpoint", "No online endpoint answers at %s\n%s", host, help)
}

// errPrivate: that the front door refuses is documented, status and text are
// ours.
func errPrivate() *httpx.Error {
	return httpx.Errorf(http.StatusForbidden, "public_access_disabled", "Public network access to this endpoint is disabled: it is reached through a private endpoint of its workspace.\n%s", help)
}

// errTimeout: recorded.
func errTimeout() *httpx.Error {
	return httpx.Errorf(http.StatusRequestTimeout, "timeout", "%s", "upstream request timeout\n"+help)
}

// errTooManyPending: the reason comes from the proxy's code, the body is
// recorded to be the help text alone.
func errTooManyPending() *httpx.Error {
	return withReason(httpx.Errorf(http.StatusTooManyRequests, reasonTooMany, "%s", help), reasonTooMany)
}

// errOverRate: the status is documented for requests per second and assumed for
// connections. That there is no reason and no more text than the help is assumed.
func errOverRate(what string, limit int) *httpx.Error {
	return httpx.Errorf(http.StatusTooManyRequests, "over_rate_limit", "%s", help).
		Because(fmt.Errorf("the endpoint is over its limit of %d %s", limit, what))
}

// errNoHealthyUpstream and errUpstream: first-party clients know both texts.
func errNoHealthyUpstream() *httpx.Error {
	return withReason(httpx.Errorf(http.StatusFailedDependency, reasonNotReady, "%s", "no healthy upstream\n"+help), reasonNotReady)
}

func errUpstream(cause error, wasConnected bool) *httpx.Error {
	how := "connection failure"
	if wasConnected {
		how = "connection termination"
	}
	return withReason(httpx.Errorf(http.StatusFailedDependency, reasonNotReady,
		"upstream connect error or disconnect/reset before headers. reset reason: %s\n%s", how, help), reasonNotReady).Because(cause)
}

// errUpgrade: assumed; nobody reports a WebSocket through a managed endpoint.
func errUpgrade() *httpx.Error {
	return httpx.Errorf(http.StatusUpgradeRequired, "upgrade_refused", "Protocol upgrades are not supported by online endpoints.")
}

func errUnknownMode(mode AuthMode) *httpx.Error {
	return httpx.Errorf(http.StatusInternalServerError, "InternalServerError", "The endpoint cannot be served.").
		Because(fmt.Errorf("auth mode %q is unknown", mode))
}
