package blobfake

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"

	"github.com/amlocal/amlocal/store"
)

// publicAccess reads x-ms-blob-public-access; an account may forbid it.
func publicAccess(r *http.Request) (PublicAccess, error) {
	public := PublicAccess(lower(r.Header.Get("x-ms-blob-public-access")))
	if public != Private && public != PublicBlobs && public != PublicContainer {
		return public, errInvalidHeader("x-ms-blob-public-access", string(public))
	}
	if public != Private && !targetOf(r).found.AllowBlobPublicAccess {
		return public, errPublicAccessForbidden()
	}
	return public, nil
}

// getContainerACL answers the public access; there are no stored policies.
func (s *Service) getContainerACL(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	var c container
	if err := s.docs.View(r.Context(), func(tx store.ReadTx) (err error) {
		c, err = loadContainer(tx, t.account, t.container)
		return err
	}); err != nil {
		return err
	}
	setValidators(w.Header(), etag(c.Version), c.Modified)
	setIf(w.Header(), "x-ms-blob-public-access", string(c.Public))
	return writeXML(w, []byte(xmlHeader+"<SignedIdentifiers />"))
}

// setContainerACL sets the public access. Stored access policies are refused
// rather than forgotten.
func (s *Service) setContainerACL(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	public, err := publicAccess(r)
	if err != nil {
		return err
	}
	var body struct {
		XMLName  xml.Name   `xml:"SignedIdentifiers"`
		Policies []struct{} `xml:"SignedIdentifier"`
	}
	if err := xml.NewDecoder(r.Body).Decode(&body); err != nil && !errors.Is(err, io.EOF) {
		return errInvalidXML(err)
	}
	if len(body.Policies) > 0 {
		return errNotImplemented("stored access policies")
	}
	cond, err := parseConditions(r.Header, "")
	if err != nil {
		return err
	}
	var c container
	if err := s.docs.Update(r.Context(), func(tx store.Tx) (err error) {
		if c, err = loadContainer(tx, t.account, t.container); err != nil {
			return err
		}
		if err := cond.checkWrite(true, etag(c.Version), c.Modified); err != nil {
			return err
		}
		c.Public = public
		if c.Modified, c.Version, err = s.stamp(tx); err != nil {
			return err
		}
		return put(tx, containerBucket, key(t.account, t.container), c)
	}); err != nil {
		return err
	}
	setValidators(w.Header(), etag(c.Version), c.Modified)
	w.WriteHeader(http.StatusOK)
	return nil
}
