package vault

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
)

// inner is the place of the innererror's code in an httpx.Error.
const inner = "innererror"

func forbidden(code, format string, args ...any) *httpx.Error {
	return withInner(httpx.Errorf(http.StatusForbidden, "Forbidden", format, args...), code)
}

func withInner(e *httpx.Error, code string) *httpx.Error {
	e.Extra = map[string]string{inner: code}
	return e
}

func errUnauthorized(v Vault, message string, cause error) *httpx.Error {
	e := httpx.Errorf(http.StatusUnauthorized, "Unauthorized", "%s", message).Because(cause)
	e.Header = http.Header{"Www-Authenticate": {
		`Bearer authorization="https://login.microsoftonline.com/` + v.TenantID + `", resource="` + audience + `"`}}
	return e
}

func errNoToken(v Vault) *httpx.Error {
	return errUnauthorized(v, "AKV10000: Request is missing a Bearer or PoP token.", nil)
}

func errIssuer(v Vault, found string) *httpx.Error {
	return errUnauthorized(v, fmt.Sprintf("AKV10032: Invalid issuer. Expected one of https://sts.windows.net/%s/, found %s.", v.TenantID, found), azure.ErrTokenIssuer)
}

// callerLine is how refusals name the caller.
func callerLine(p azure.Principal, issuer string) string {
	line := ""
	if p.AppID != "" {
		line = "appid=" + p.AppID + ";"
	}
	return line + "oid=" + p.ObjectID + ";iss=" + issuer
}

// errRoles is the refusal of a vault that uses roles, line by line as recorded.
func errRoles(v Vault, d azure.Decision, issuer string) *httpx.Error {
	return forbidden("ForbiddenByRbac", "Caller is not authorized to perform action on resource.\r\n"+
		"If role assignments, deny assignments or role definitions were changed recently, please observe propagation time.\r\n"+
		"Caller: %s\r\nAction: '%s'\r\nResource: '%s'\r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: 'DeniedWithNoValidRBAC' \r\n"+
		"Vault: %s;location=%s\r\n", callerLine(d.Principal, issuer), d.Check.Action, lowerScope(d.Check.Scope), v.Name, v.Location)
}

// lowerScope is an id as Key Vault quotes it: its own words in lower case, the
// names as they are.
func lowerScope(scope string) string {
	parts := strings.Split(scope, "/")
	for i := range parts {
		if i%2 == 1 || i == 6 { // the words, and the provider's namespace
			parts[i] = strings.ToLower(parts[i])
		}
	}
	return strings.Join(parts, "/")
}

func errPolicy(v Vault, p azure.Principal, issuer, permission string) *httpx.Error {
	return forbidden("AccessDenied", "The user, group or application '%s' does not have secrets %s permission on key vault '%s;location=%s'. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125287",
		callerLine(p, issuer), permission, v.Name, v.Location)
}

func errClosed(v Vault, p azure.Principal, issuer string) *httpx.Error {
	return forbidden("ForbiddenByConnection", "Public network access is disabled and request is not from a trusted service nor via an approved private link.\r\nCaller: %s\r\nVault: %s;location=%s",
		callerLine(p, issuer), v.Name, v.Location)
}

func errWalled(v Vault, p azure.Principal, issuer string) *httpx.Error {
	return forbidden("ForbiddenByFirewall", "Client address is not authorized and caller is not a trusted service.\r\nClient address: 127.0.0.1\r\nCaller: %s\r\nVault: %s;location=%s",
		callerLine(p, issuer), v.Name, v.Location)
}

func errVaultNotFound(name string) *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "VaultNotFound", "The key vault %q does not exist here.", name)
}

func errSecretNotFound(name, version string) *httpx.Error {
	if version != "" {
		name += "/" + version
	}
	return httpx.Errorf(http.StatusNotFound, "SecretNotFound",
		"A secret with (name/id) %s was not found in this key vault. If you recently deleted this secret you may be able to recover it using the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182", name)
}

func errDeletedNotFound(name string) *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "SecretNotFound", "Deleted Secret not found: %s", name)
}

func errDisabled() *httpx.Error {
	return forbidden("SecretDisabled", "Operation get is not allowed on a disabled secret.")
}

func errDeletedButRecoverable(name string) *httpx.Error {
	return withInner(httpx.Errorf(http.StatusConflict, "Conflict",
		"Secret %s is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the secret can only be recovered or purged.", name), "ObjectIsDeletedButRecoverable")
}

// errExists answers a restore over a secret that is there; unverified.
func errExists(name string) *httpx.Error {
	return withInner(httpx.Errorf(http.StatusConflict, "Conflict", "Secret %s already exists.", name), "SecretAlreadyExists")
}

func errPurgeProtected() *httpx.Error {
	return httpx.Errorf(http.StatusForbidden, "Forbidden",
		`Operation "purge" is not allowed because purge protection is enabled for this vault. Key Vault service will automatically purge it after the retention period has passed.`)
}

func errName(name string) *httpx.Error {
	return badParameter("The request URI contains an invalid name: %s", name)
}

// badParameter is a 400; what texts follow are unverified unless said.
func badParameter(format string, args ...any) *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "BadParameter", format, args...)
}

// errNotImplemented is our own: Azure can do this, we cannot. No SDK retries a
// 501.
func errNotImplemented(what string) *httpx.Error {
	return httpx.Errorf(http.StatusNotImplemented, "NotImplemented", "amlocal does not implement the %s of a key vault, only its secrets. See the limitations in its documentation.", what)
}

var errUnsealed = errors.New("the value of a stored secret cannot be decrypted: the key in the state folder is not the one it was encrypted with")

// unrouted answers what no row of the table takes.
func unrouted(r *http.Request) error {
	return httpx.Errorf(http.StatusMethodNotAllowed, "MethodNotAllowed", "Method %s does not allow operation '%s'", r.Method, strings.Trim(r.URL.Path, "/"))
}
