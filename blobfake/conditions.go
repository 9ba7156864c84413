package blobfake

import (
	"net/http"
	"strings"
	"time"

	"github.com/amlocal/amlocal/internal/httpx"
)

// conditions are the conditional headers of a request.
type conditions struct {
	match, noneMatch   string
	since, unmodSince  time.Time
	hasSince, hasUntil bool
}

// parseConditions reads the four headers, or their x-ms-source- counterparts.
func parseConditions(h http.Header, prefix string) (conditions, error) {
	c := conditions{match: h.Get(prefix + "If-Match"), noneMatch: h.Get(prefix + "If-None-Match")}
	for _, d := range []struct {
		name string
		at   *time.Time
		has  *bool
	}{
		{prefix + "If-Modified-Since", &c.since, &c.hasSince},
		{prefix + "If-Unmodified-Since", &c.unmodSince, &c.hasUntil},
	} {
		v := h.Get(d.name)
		if v == "" {
			continue
		}
		t, err := http.ParseTime(v)
		if err != nil {
			return c, errInvalidHeader(d.name, v)
		}
		*d.at, *d.has = t, true
	}
	return c, nil
}

// mustMatch is whether the resource satisfies If-Match and
// If-Unmodified-Since.
func (c conditions) mustMatch(tag string, modified time.Time) bool {
	if c.match != "" && c.match != "*" && !sameTag(c.match, tag) {
		return false
	}
	return !c.hasUntil || !modified.Truncate(time.Second).After(c.unmodSince)
}

// mustDiffer is whether it satisfies If-None-Match and If-Modified-Since; of
// the two, one is enough.
func (c conditions) mustDiffer(tag string, modified time.Time) bool {
	if c.noneMatch == "" && !c.hasSince {
		return true
	}
	if c.noneMatch != "" && c.noneMatch != "*" && !sameTag(c.noneMatch, tag) {
		return true
	}
	return c.hasSince && modified.Truncate(time.Second).After(c.since)
}

// checkRead holds the conditions of a read against the resource.
func (c conditions) checkRead(tag string, modified time.Time) error {
	if !c.mustMatch(tag, modified) {
		return errConditionNotMet()
	}
	if !c.mustDiffer(tag, modified) {
		e := errNotModified()
		e.Header = http.Header{}
		setValidators(e.Header, tag, modified)
		return e
	}
	return nil
}

// checkWrite holds the conditions of a write against the resource, if there is
// one. `If-None-Match: *` is how clients say "do not overwrite" and has its own
// error.
func (c conditions) checkWrite(exists bool, tag string, modified time.Time) error {
	if !exists {
		if c.match != "" {
			return errConditionNotMet()
		}
		return nil
	}
	if c.noneMatch == "*" {
		return errBlobExists()
	}
	if !c.mustMatch(tag, modified) || !c.mustDiffer(tag, modified) {
		return errConditionNotMet()
	}
	return nil
}

// sameTag compares entity tags; clients may leave the quotes out.
func sameTag(given, tag string) bool {
	return strings.Trim(strings.TrimPrefix(given, "W/"), `"`) == strings.Trim(tag, `"`)
}

// refused are headers that ask for something we would otherwise silently not
// do.
var refused = map[string]string{
	"x-ms-encryption-key":                 "customer-provided encryption keys",
	"x-ms-encryption-scope":               "encryption scopes",
	"x-ms-structured-body":                "structured message bodies",
	"x-ms-if-tags":                        "conditions on blob tags",
	"x-ms-source-if-tags":                 "conditions on blob tags",
	"x-ms-immutability-policy-mode":       "immutability policies",
	"x-ms-legal-hold":                     "legal holds",
	"x-ms-seal-blob":                      "append blobs",
	"x-ms-default-encryption-scope":       "encryption scopes",
	"x-ms-upn":                            "hierarchical namespaces",
	"x-ms-source-encryption-key":          "customer-provided encryption keys",
	"x-ms-immutability-policy-until-date": "immutability policies",
}

// refuseUnsupported answers what no row can: leases, snapshots and versions do
// not exist here.
func refuseUnsupported(r *http.Request, op *httpx.Operation) error {
	for name, what := range refused {
		if r.Header.Get(name) != "" {
			return errNotImplemented(what)
		}
	}
	t := targetOf(r)
	noun := "Blob"
	if t.blob == "" {
		noun = "Container"
	}
	if r.Header.Get("x-ms-lease-id") != "" && t.query.get("comp") != "lease" {
		return errNoLease(noun)
	}
	if t.query.has("snapshot") || t.query.has("versionid") {
		return errBlobNotFound()
	}
	return nil
}
