package blobfake

import (
	"encoding/base64"
	"net/url"
	"time"
)

// signedVersion is the `sv` of the signatures we make: old enough for every
// client and new enough for every field we set.
const signedVersion = "2022-11-02"

// SAS signs a service SAS with the account's first key and returns its query
// string, without "?". An empty blob signs for the whole container. A zero
// start leaves `st` out. Permissions are letters in Azure's order, e.g. "rcwl".
func SAS(account Account, container, blob, permissions string, start, expiry time.Time) string {
	q := queryValues{"sv": {signedVersion}, "sr": {"c"}, "sp": {permissions}, "se": {sasTime(expiry)}}
	resource := "/blob/" + account.Name + "/" + container
	if blob != "" {
		q["sr"] = []string{"b"}
		resource += "/" + blob
	}
	if !start.IsZero() {
		q["st"] = []string{sasTime(start)}
	}
	return signQuery(account, q, serviceString(resource, &sasToken{values: q, version: signedVersion}))
}

// AccountSAS signs an account SAS for the blob service. resourceTypes are
// letters of "sco".
func AccountSAS(account Account, resourceTypes, permissions string, start, expiry time.Time) string {
	q := queryValues{"sv": {signedVersion}, "ss": {"b"}, "srt": {resourceTypes}, "sp": {permissions}, "se": {sasTime(expiry)}}
	if !start.IsZero() {
		q["st"] = []string{sasTime(start)}
	}
	return signQuery(account, q, accountString(account.Name, &sasToken{values: q, version: signedVersion}))
}

func signQuery(account Account, q queryValues, toSign string) string {
	// A key that is not base64 cannot verify anything either.
	secret, _ := base64.StdEncoding.DecodeString(account.Keys[0])
	out := url.Values(q)
	out.Set("sig", base64.StdEncoding.EncodeToString(mac(secret, toSign)))
	return out.Encode()
}

func sasTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
