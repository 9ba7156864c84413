package vault

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"time"

	"github.com/amlocal/amlocal/internal/httpx"
)

// versions are the api-versions that exist or will.
var versions = regexp.MustCompile(`^(2016-10-01|7\.\d+(-preview(\.\d+)?)?|20(2[5-9]|[3-9]\d)-\d\d-\d\d(-preview)?)$`)

func before(r *http.Request, _ *httpx.Operation) error {
	version := r.URL.Query().Get("api-version")
	switch {
	case version == "":
		return badParameter("The request is missing the api-version query parameter.")
	case !versions.MatchString(version):
		return badParameter("The specified version (%s) is not recognized. Consider using the latest supported version (7.6).", version)
	}
	return nil
}

func encodeError(w http.ResponseWriter, _ *http.Request, e *httpx.Error) {
	body := map[string]any{"code": e.Code, "message": e.Message}
	if code := e.Extra[inner]; code != "" {
		body["innererror"] = map[string]any{"code": code}
	}
	_ = reply(w, e.Status, map[string]any{"error": body})
}

func reply(w http.ResponseWriter, status int, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(raw) // the client is gone: nobody to tell
	return nil
}

// attributes are a secret's attributes as they go over the wire; times are
// seconds since 1970.
type attributes struct {
	Enabled         *bool  `json:"enabled,omitempty"`
	NotBefore       *int64 `json:"nbf,omitempty"`
	Expires         *int64 `json:"exp,omitempty"`
	Created         int64  `json:"created,omitempty"`
	Updated         int64  `json:"updated,omitempty"`
	RecoveryLevel   string `json:"recoveryLevel,omitempty"`
	RecoverableDays int    `json:"recoverableDays,omitempty"`
}

// bundle is a secret as answered.
type bundle struct {
	Value         *string `json:"value,omitempty"`
	RecoveryID    string  `json:"recoveryId,omitempty"`
	DeletedDate   int64   `json:"deletedDate,omitempty"`
	ScheduledDate int64   `json:"scheduledPurgeDate,omitempty"`
	ID            string  `json:"id"`

	Attributes  attributes        `json:"attributes"`
	ContentType string            `json:"contentType,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	// PreviousVersion is shown where a PUT made a second version, in newer
	// api-versions; we leave it out.
}

// settings are what a client may set, on PUT and PATCH. A member that is
// absent or null is nil.
type settings struct {
	Value       *string           `json:"value"`
	ContentType *string           `json:"contentType"`
	Tags        map[string]string `json:"tags"`
	Attributes  *attributes       `json:"attributes"`
}

// The limits of the service.
const (
	maxValue       = 25 << 10
	maxTags        = 15
	maxTag         = 256
	maxContentType = 255
)

func readSettings(r *http.Request) (s settings, err error) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		// The body may hold a value: nothing of it is quoted.
		return s, badParameter("The request body is not the JSON of a secret.")
	}
	switch {
	case s.Value != nil && len(*s.Value) > maxValue:
		return s, badParameter("The secret value is larger than the maximum of %d bytes.", maxValue)
	case s.ContentType != nil && len(*s.ContentType) > maxContentType:
		return s, badParameter("The content type is longer than %d characters.", maxContentType)
	case len(s.Tags) > maxTags:
		return s, badParameter("A secret can have at most %d tags.", maxTags)
	}
	for name, value := range s.Tags {
		if len(name) > maxTag || len(value) > maxTag {
			return s, badParameter("The name and the value of a tag can have at most %d characters.", maxTag)
		}
	}
	return s, nil
}

func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
