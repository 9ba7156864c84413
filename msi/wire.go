package msi

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
)

// azureMLAnswer has the fields, and the integers, of the recorded answer.
type azureMLAnswer struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int64  `json:"expires_in"`
	ExpiresOn   int64  `json:"expires_on"`
	Resource    string `json:"resource"`
	TokenType   string `json:"token_type"`
}

// appServiceAnswer has strings; Rust insists on them.
type appServiceAnswer struct {
	AccessToken string `json:"access_token"`
	ClientID    string `json:"client_id"`
	ExpiresOn   int64  `json:"expires_on,string"`
	Resource    string `json:"resource"`
	TokenType   string `json:"token_type"`
}

// imdsAnswer carries expires_in as well: Python reads nothing else there. Cloud
// Shell answers alike.
type imdsAnswer struct {
	AccessToken  string `json:"access_token"`
	ClientID     string `json:"client_id"`
	ExpiresIn    int64  `json:"expires_in,string"`
	ExpiresOn    int64  `json:"expires_on,string"`
	ExtExpiresIn int64  `json:"ext_expires_in,string"`
	NotBefore    int64  `json:"not_before,string"`
	Resource     string `json:"resource"`
	TokenType    string `json:"token_type"`
}

// answer shapes a token for a flavour. Resource is echoed as it was asked:
// JS caches under the answered one.
func (f flavour) answer(t azure.Token, resource string, now time.Time) any {
	left := int64((t.Expires.Sub(now) - 1) / time.Second) // whole seconds, 86399 of a fresh day
	switch f {
	case azureML:
		return azureMLAnswer{AccessToken: t.Raw, ExpiresIn: left, ExpiresOn: t.Expires.Unix(), Resource: resource, TokenType: "Bearer"}
	case appService:
		return appServiceAnswer{AccessToken: t.Raw, ClientID: t.ClientID, ExpiresOn: t.Expires.Unix(), Resource: resource, TokenType: "Bearer"}
	default:
		return imdsAnswer{
			AccessToken: t.Raw, ClientID: t.ClientID, ExpiresIn: left, ExtExpiresIn: left,
			ExpiresOn: t.Expires.Unix(), NotBefore: t.NotBefore.Unix(), Resource: resource, TokenType: "Bearer",
		}
	}
}

// errorBody is one shape that every library makes a readable message of.
type errorBody struct {
	StatusCode       int    `json:"statusCode"`
	Message          string `json:"message"`
	CorrelationID    string `json:"correlationId"`
	Error            string `json:"error"`
	ErrorDescription string `json:"error_description"`
}

type imdsErrorBody struct {
	Error            string `json:"error"`
	ErrorDescription string `json:"error_description"`
}

func encodeError(w http.ResponseWriter, r *http.Request, e *httpx.Error) {
	if text := e.Extra[plainText]; text != "" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(e.Status)
		_, _ = w.Write([]byte(text))
		return
	}
	writeJSON(w, e.Status, errorBody{
		StatusCode: e.Status, Message: e.Message, CorrelationID: httpx.RequestID(r.Context()),
		Error: e.Code, ErrorDescription: e.Message,
	})
}

func encodeIMDSError(w http.ResponseWriter, _ *http.Request, e *httpx.Error) {
	writeJSON(w, e.Status, imdsErrorBody{Error: e.Code, ErrorDescription: e.Message})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	data, err := json.Marshal(body)
	if err != nil { // only our own plain structs come here
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(data)
}
