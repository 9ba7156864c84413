package msi

import (
	"net/http"

	"github.com/amlocal/amlocal/azure"
)

// imdsToken serves the token path of IMDS. Its errors are JSON at once, so that
// the probes of the default credential chains get their answer in time.
func (s *Service) imdsToken(w http.ResponseWriter, r *http.Request) error {
	owner := ownerOf(r.Context())
	noteInstance(r.Context(), owner)
	// Exactly this spelling: `True` and `1` are refused.
	if r.Header.Get("Metadata") != "true" {
		return errIMDSHeader()
	}
	q, err := parameters(r)
	if err != nil {
		return err
	}
	if q.Get("api-version") == "" {
		return errIMDSVersion()
	}
	resource, err := single(q, "resource")
	if err != nil {
		return err
	}
	if resource == "" {
		return errIMDSResource()
	}
	sel, err := parseSelector(q)
	if err != nil {
		return err
	}
	identity, err := s.imdsIdentity(r, owner, sel)
	if err != nil {
		return err
	}
	return s.issue(w, r, imds, identity, resource)
}

func (s *Service) imdsIdentity(r *http.Request, owner string, sel selector) (azure.Principal, error) {
	if owner == "" { // not an instance of ours: a machine without identities
		return azure.Principal{}, errIMDSIdentity()
	}
	assigned, err := s.assigned(r, owner)
	if err != nil {
		return azure.Principal{}, err
	}
	if sel != (selector{}) {
		if p, ok := assigned.find(sel); ok {
			return p, nil
		}
		return azure.Principal{}, errIMDSIdentity()
	}
	if p, ok := assigned.preset(); ok {
		return p, nil
	}
	if assigned.empty() {
		return azure.Principal{}, errIMDSIdentity()
	}
	return azure.Principal{}, errIMDSAmbiguous()
}
