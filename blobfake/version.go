package blobfake

import (
	"net/http"
	"time"
)

// version is a service version: a date, so that versions order as strings.
type version string

// The versions at which something a client can see changes.
const (
	oldestVersion       version = "2009-09-19"
	sasV2Version        version = "2012-02-12"
	sasOverridesVersion version = "2013-08-15"
	emptyLengthVersion  version = "2015-02-21" // also: /blob/ prefix in a SAS
	sasIPVersion        version = "2015-04-05"
	emptyHeaderVersion  version = "2016-05-31"
	bearerVersion       version = "2017-11-09"
	sasResourceVersion  version = "2018-11-09"
	tagsVersion         version = "2019-12-12"
	challengeVersion    version = "2019-12-12"
	delegationIDVersion version = "2020-02-10"
	scopeVersion        version = "2020-12-06"
	userBoundVersion    version = "2025-07-05"
)

func (v version) String() string { return string(v) }

// requestVersion is the version a request asks for: the header; for a SAS
// otherwise `api-version` and then `sv`; otherwise the oldest. `api-version`
// without a SAS is ignored (vector S01).
func requestVersion(r *http.Request, q queryValues) (version, error) {
	if values := r.Header.Values("x-ms-version"); len(values) > 0 {
		v := values[0]
		if !validVersion(v) {
			return oldestVersion, errInvalidHeader("x-ms-version", v)
		}
		return version(v), nil
	}
	if q.has("sig") {
		for _, name := range []string{"api-version", "sv"} {
			if v := q.get(name); v != "" && validVersion(v) {
				return version(v), nil
			}
		}
	}
	return oldestVersion, nil
}

// validVersion accepts every date from the oldest known version on, also ones
// newer than we know: refusing those is what users complain about most.
func validVersion(v string) bool {
	_, err := time.Parse(time.DateOnly, v)
	return err == nil && version(v) >= oldestVersion
}

// hasVersion reports whether the client named a version at all.
func hasVersion(r *http.Request) bool { return r.Header.Get("x-ms-version") != "" }
