package msi

import (
	"net/url"
	"strings"

	"github.com/amlocal/amlocal/azure"
)

// by is what a selector's value is compared with.
type by int

const (
	byClient by = iota
	byObject
	byResource
)

// selectorParams are all names under which clients ask for an identity.
var selectorParams = []struct {
	name string
	by   by
}{
	{"clientid", byClient},      // Azure ML
	{"client_id", byClient},     // App Service, IMDS
	{"object_id", byObject},     // Python, App Service, IMDS
	{"principal_id", byObject},  // App Service
	{"mi_res_id", byResource},   // App Service, Java
	{"msi_res_id", byResource},  // IMDS, Python
	{"resource_id", byResource}, // asyncio Python
}

// literalDefault is what the platform writes into DEFAULT_IDENTITY_CLIENT_ID
// where there is no identity, and clients send on.
const literalDefault = "clientid"

// selector is one request for an identity; the zero value asks for the default.
type selector struct {
	param, value string
	by           by
}

// parseSelector finds the identity asked for.
func parseSelector(q url.Values) (selector, error) {
	var found []selector
	var names []string
	for _, p := range selectorParams {
		value, err := single(q, p.name)
		if err != nil {
			return selector{}, err
		}
		if value == "" || p.by == byClient && value == literalDefault {
			continue
		}
		found = append(found, selector{p.name, value, p.by})
		names = append(names, p.name)
	}
	switch len(found) {
	case 0:
		return selector{}, nil
	case 1:
		return found[0], nil
	}
	return selector{}, errSeveralSelectors(names)
}

// single is a parameter's only value; the same value twice is one.
func single(q url.Values, name string) (string, error) {
	values := q[name]
	if len(values) == 0 {
		return "", nil
	}
	for _, v := range values[1:] {
		if v != values[0] {
			return "", errRepeated(name)
		}
	}
	return values[0], nil
}

// refused names a parameter the real flavour does not know, and what to use in
// its place; ok is false when there is nothing to refuse.
func (f flavour) refused(sel selector) (instead string, ok bool) {
	switch {
	case f == azureML && sel.param == "client_id": // 400, seen by users of the .NET SDK
		return "clientid", true
	case f == appService && sel.param == "clientid":
		return "client_id", true
	case f == appService && (sel.param == "msi_res_id" || sel.param == "resource_id"):
		return "mi_res_id", true
	}
	return "", false
}

// find is the attached identity the selector names.
func (a Assigned) find(sel selector) (azure.Principal, bool) {
	if a.System != nil && sel.matches(*a.System) {
		return *a.System, true
	}
	for _, p := range a.User {
		if sel.matches(p) || sel.by == byResource && sameID(sel.value, p.ResourceID) {
			return p, true
		}
	}
	return azure.Principal{}, false
}

// matches compares the ids; the resource id of a system-assigned identity is
// the endpoint's and selects nothing.
func (sel selector) matches(p azure.Principal) bool {
	switch sel.by {
	case byClient:
		return sameID(sel.value, p.AppID)
	case byObject:
		return sameID(sel.value, p.ObjectID)
	}
	return false
}

func sameID(asked, id string) bool {
	return id != "" && strings.EqualFold(strings.TrimRight(asked, "/"), id)
}

// preset is the default identity: the system-assigned one, else the only
// user-assigned one.
func (a Assigned) preset() (p azure.Principal, ok bool) {
	switch {
	case a.System != nil:
		return *a.System, true
	case len(a.User) == 1:
		return a.User[0], true
	}
	return azure.Principal{}, false
}

func (a Assigned) empty() bool { return a.System == nil && len(a.User) == 0 }
