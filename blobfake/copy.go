package blobfake

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// copyBlob answers Copy Blob and Copy Blob From URL. The copy is of references
// to content, so it is over when the answer is sent.
func (s *Service) copyBlob(w http.ResponseWriter, r *http.Request) error {
	cond, err := parseConditions(r.Header, "")
	if err != nil {
		return err
	}
	sourceCond, err := parseConditions(r.Header, "x-ms-source-")
	if err != nil {
		return err
	}
	d, err := s.readDraft(r, false)
	if err != nil {
		return err
	}
	switch option := r.Header.Get("x-ms-copy-source-tag-option"); option {
	case "", "REPLACE": // the source's tags are not copied
	case "COPY":
		return errNotImplemented("copies of blob tags")
	default:
		return errInvalidHeader("x-ms-copy-source-tag-option", option)
	}
	source := r.Header.Get("x-ms-copy-source")
	from, err := s.copySource(r, source)
	if err != nil {
		return err
	}
	var b blob
	if err := s.docs.Update(r.Context(), func(tx store.Tx) error {
		src, err := loadBlob(tx, from.account, from.container, from.blob)
		if err != nil {
			e := httpx.AsError(err)
			return errCopySource(e.Status, e.Code).Because(err)
		}
		if sourceCond.checkRead(etag(src.Version), src.Modified) != nil {
			return httpx.Errorf(http.StatusPreconditionFailed, "SourceConditionNotMet",
				"The source condition specified using HTTP conditional header(s) is not met.")
		}
		old, exists, err := s.admit(tx, r, cond)
		if err != nil {
			return err
		}
		d.headers, d.blocks = src.Headers, src.Blocks
		if d.metadata == nil {
			d.metadata = src.Metadata
		}
		shown, _, _ := strings.Cut(source, "?") // never store a signature
		d.copied = &copyState{ID: uuid.NewString(), Source: shown, Completed: s.now()}
		b, err = s.commit(tx, r, old, exists, d)
		return err
	}); err != nil {
		return err
	}
	h := w.Header()
	setValidators(h, etag(b.Version), b.Modified)
	h.Set("x-ms-copy-id", b.Copy.ID)
	h.Set("x-ms-copy-status", "success")
	if r.Header.Get("x-ms-requires-sync") == "true" {
		setIf(h, "Content-MD5", b.Headers.ContentMD5)
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// copySource finds the source and proves that the caller may read it: by the
// source's own signature, by a token for it, by the account key when it is in
// the same account, or because it is public.
func (s *Service) copySource(r *http.Request, source string) (*target, error) {
	u, err := url.Parse(source)
	if err != nil || u.Host == "" {
		return nil, errInvalidHeader("x-ms-copy-source", source)
	}
	if _, ok := hostAccount(u.Host); !ok && !strings.EqualFold(u.Host, r.Host) {
		return nil, errNotImplemented("copies from other services")
	}
	sr := (&http.Request{
		Method: http.MethodGet, URL: u, Host: u.Host, RequestURI: u.RequestURI(),
		Header: http.Header{}, RemoteAddr: r.RemoteAddr,
	}).WithContext(r.Context())
	if u.Scheme == "https" {
		sr.TLS = r.TLS
	}
	sr.Header.Set("x-ms-version", r.Header.Get("x-ms-version"))
	if own := r.Header.Get("x-ms-copy-source-authorization"); own != "" {
		sr.Header.Set("Authorization", own)
	}
	if sr.Header.Get("x-ms-version") == "" {
		sr.Header.Del("x-ms-version")
	}
	sr, from := parseTarget(sr)
	if from.err != nil || from.blob == "" {
		return nil, errInvalidHeader("x-ms-copy-source", source)
	}
	if from.query.has("snapshot") || from.query.has("versionid") {
		return nil, errCopySource(http.StatusNotFound, "BlobNotFound")
	}
	if err := s.permitSource(r, sr, from); err != nil {
		e := httpx.AsError(err)
		if e.Status >= 500 {
			return nil, err
		}
		return nil, errCopySource(e.Status, e.Code).Because(err)
	}
	return from, nil
}

func (s *Service) permitSource(r, sr *http.Request, from *target) error {
	read := s.rows["blobfake.GetBlob"]
	who, err := s.authenticate(sr, &read.Operation)
	if err != nil {
		return err
	}
	if !from.found.Network.admits(r.RemoteAddr) {
		return errNetwork(from.found.Network)
	}
	caller := httpx.Caller(r.Context())
	sameAccount := from.account == targetOf(r).account
	switch {
	case who.Scheme == azure.Bearer:
		return s.requireSource(sr, who.Principal, read)
	case who.Scheme == azure.SAS:
		return s.permitSAS(sr, from, read)
	case who.Scheme == azure.SharedKey:
		return errInvalidScheme()
	case sameAccount && caller.Scheme == azure.SharedKey:
		return nil
	case sameAccount && caller.Scheme == azure.Bearer:
		return s.requireSource(sr, caller.Principal, read)
	}
	return s.permitAnonymous(r.Context(), from, read)
}

func (s *Service) requireSource(sr *http.Request, who azure.Principal, read *row) error {
	d := s.authorizer.Decide(sr.Context(), who, read.Check(sr))
	httpx.Entry(sr.Context()).Decide(d)
	if !d.Allowed {
		return errPermissionMismatch()
	}
	return nil
}

// abortCopy: copies are over before they could be aborted.
func (s *Service) abortCopy(http.ResponseWriter, *http.Request) error { return errCopyNotPending() }
