package gateway

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/amlocal/amlocal/internal/httpx"
)

// Header names of the front door.
const (
	headerRequestID       = "X-Request-Id"
	headerClientRequestID = "X-Ms-Client-Request-Id"
	headerDeployment      = "Azureml-Model-Deployment"
	headerSession         = "Azureml-Model-Session"
	headerModelStatus     = "Ms-Azureml-Model-Error-Statuscode"
	headerModelReason     = "Ms-Azureml-Model-Error-Reason"

	serverName = "azureml-frontdoor"
)

// Values of ms-azureml-model-error-reason; the spelling is the service's.
const (
	reasonModelError = "model_error"
	reasonNotReady   = "model_not_ready"
	reasonTooMany    = "too_many_pending_request"
)

// help follows error bodies the front door makes itself (recorded for 404, 408
// and 429; assumed for 424).
const help = "Please check this guide to understand why this error code might have been returned \n" +
	"https://docs.microsoft.com/en-us/azure/machine-learning/how-to-troubleshoot-online-endpoints#http-status-codes\n"

// encode writes the front door's errors: plain text, the message as it stands.
func encode(w http.ResponseWriter, _ *http.Request, e *httpx.Error) {
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(len(e.Message)))
	w.WriteHeader(e.Status)
	_, _ = io.WriteString(w, e.Message)
}

func setReason(h http.Header, reason string) {
	h.Del(headerModelStatus)
	h.Set(headerModelReason, reason)
}

// sanitizeClientRequestID keeps letters, digits, - and _, and 40 of them.
// Dropping the other characters, rather than the whole value, is assumed.
func sanitizeClientRequestID(id string) string {
	const longest = 40
	id = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_':
			return r
		}
		return -1
	}, id)
	return id[:min(len(id), longest)]
}
