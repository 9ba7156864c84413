package intercept

import (
	"encoding/json"
	"net/http"

	"github.com/amlocal/amlocal/internal/httpx"
)

// encode writes the proxy's own errors: ARM's envelope, which every Azure SDK
// shows to its user.
func encode(w http.ResponseWriter, r *http.Request, e *httpx.Error) {
	body, err := json.Marshal(map[string]any{"error": map[string]string{"code": e.Code, "message": e.Message}})
	if err != nil {
		body = []byte(`{"error":{"code":"InternalServerError","message":"unprintable error"}}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if e.Code != "" {
		w.Header().Set("x-ms-error-code", e.Code) // HEAD answers carry no body
	}
	w.WriteHeader(e.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// errRefused is for Azure services without an emulation. No Azure SDK retries
// 501.
func errRefused(host string, v Verdict) *httpx.Error {
	return httpx.Errorf(http.StatusNotImplemented, "NotEmulated",
		"amlocal does not emulate %s (%s), and does not let the call reach the real service.", v.Service, host)
}

// errNoSuchHost stands for the failed name resolution one would see in Azure.
func errNoSuchHost(v Verdict) *httpx.Error {
	return httpx.Errorf(http.StatusBadGateway, "NoSuchHost", "%s", v.Reason)
}

func errOffline(host string) *httpx.Error {
	return httpx.Errorf(http.StatusBadGateway, "Offline",
		"amlocal runs with --offline and does not contact %s", host)
}

func errUnreachable(target string, cause error) *httpx.Error {
	return httpx.Errorf(http.StatusBadGateway, "Unreachable", "amlocal could not reach %s: %v", target, cause).Because(cause)
}

func errLoop(target string) *httpx.Error {
	return httpx.Errorf(http.StatusForbidden, "ProxyLoop",
		"%s is amlocal's own port; it does not proxy to itself. Add 127.0.0.1 and localhost to NO_PROXY", target)
}

func errScheme(scheme string) *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "UnsupportedScheme",
		"a proxy request with scheme %q is not supported: use CONNECT for https.", scheme)
}

func errNestedTunnel(host string) *httpx.Error {
	return httpx.Errorf(http.StatusMethodNotAllowed, "MethodNotAllowed", "CONNECT inside a connection to %s.", host)
}

func errNoHijack(cause error) *httpx.Error {
	return httpx.Errorf(http.StatusNotImplemented, "NotSupported",
		"CONNECT is served over HTTP/1.1 only.").Because(cause)
}

// errMisdirected keeps one certificate from serving two hosts.
func errMisdirected(asked, connected string) *httpx.Error {
	return httpx.Errorf(http.StatusMisdirectedRequest, "MisdirectedRequest",
		"the request is for %q, the connection is to %q.", asked, connected)
}

func errNotHere(host string) *httpx.Error {
	return httpx.Errorf(http.StatusMisdirectedRequest, "MisdirectedRequest",
		"%q is not a name amlocal answers for at this address.", host)
}

// noMetadata is the metadata service of a machine that has none.
func noMetadata(w http.ResponseWriter, r *http.Request) {
	encode(w, r, httpx.Errorf(http.StatusNotFound, "NotFound",
		"amlocal offers no instance metadata service here."))
}
