package entra

import (
	"encoding/json"
	"net/http"
)

// tokenAnswer is the v2 endpoint's answer: numbers.
type tokenAnswer struct {
	TokenType    string `json:"token_type"`
	Scope        string `json:"scope,omitempty"`
	ExpiresIn    int64  `json:"expires_in"`
	ExtExpiresIn int64  `json:"ext_expires_in"`
	AccessToken  string `json:"access_token"`
	userAnswer
}

// tokenAnswerV1 is the v1 endpoint's: strings, and the resource.
type tokenAnswerV1 struct {
	TokenType    string `json:"token_type"`
	Scope        string `json:"scope,omitempty"`
	ExpiresIn    int64  `json:"expires_in,string"`
	ExtExpiresIn int64  `json:"ext_expires_in,string"`
	ExpiresOn    int64  `json:"expires_on,string"`
	NotBefore    int64  `json:"not_before,string"`
	Resource     string `json:"resource"`
	AccessToken  string `json:"access_token"`
	userAnswer
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	data, err := json.Marshal(body)
	if err != nil { // only our own plain structs come here
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

func noStore(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store, no-cache")
	w.Header().Set("Pragma", "no-cache")
}

// userAnswer is what a token's answer says of the user; empty for an
// application.
type userAnswer struct {
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	ClientInfo   string `json:"client_info,omitempty"`
	Family       string `json:"foci,omitempty"`

	scope, scopeV1 string
}

// deviceAnswer begins a sign-in by device code; the versions differ in the name
// of the page's field.
type deviceAnswer struct {
	UserCode   string `json:"user_code"`
	DeviceCode string `json:"device_code"`
	ExpiresIn  int    `json:"expires_in"`
	Interval   int    `json:"interval"`
	Message    string `json:"message"`
}

type deviceAnswerV2 struct {
	deviceAnswer
	Page string `json:"verification_uri"`
}

type deviceAnswerV1 struct {
	deviceAnswer
	Page string `json:"verification_url"`
}

// realmAnswer says how a domain's users sign in.
type realmAnswer struct {
	Version       string `json:"ver"`
	AccountType   string `json:"account_type"`
	Login         string `json:"login"`
	Domain        string `json:"domain_name"`
	Cloud         string `json:"cloud_instance_name"`
	CloudAudience string `json:"cloud_audience_urn"`
}
