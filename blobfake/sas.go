package blobfake

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
)

// sasToken is a shared access signature as found in a query.
type sasToken struct {
	values  queryValues
	version version
	kind    sasKind
	// signer is whose roles bound a user-delegation SAS.
	signer azure.Principal
}

type sasKind int

const (
	accountSAS sasKind = iota
	serviceSAS
	delegationSAS
)

func (t *sasToken) get(name string) string { return t.values.get(name) }

// allows reports whether the signature carries one of the permissions.
func (t *sasToken) allows(anyOf string) bool { return strings.ContainsAny(t.get("sp"), anyOf) }

// parseSAS reads a signature and refuses what could make two readings of one
// signed string: line ends in a field, a field given twice.
func parseSAS(q queryValues) (*sasToken, error) {
	t := &sasToken{values: q, version: version(q.get("sv"))}
	for name, values := range q {
		if !sasField[name] {
			continue
		}
		if len(values) != 1 || strings.ContainsAny(values[0], "\r\n") {
			return nil, errInvalidQuery(name, values[0], "")
		}
	}
	if !validVersion(t.version.String()) || t.version < sasV2Version {
		return nil, errInvalidQuery("sv", t.version.String(), "")
	}
	switch {
	case q.has("ss") || q.has("srt"):
		t.kind = accountSAS
	case q.has("skoid"):
		t.kind = delegationSAS
	default:
		t.kind = serviceSAS
	}
	return t, nil
}

var sasField = map[string]bool{
	"sv": true, "ss": true, "srt": true, "sp": true, "st": true, "se": true, "sip": true, "spr": true,
	"sr": true, "si": true, "ses": true, "sig": true, "rscc": true, "rscd": true, "rsce": true,
	"rscl": true, "rsct": true, "skoid": true, "sktid": true, "skt": true, "ske": true, "sks": true,
	"skv": true, "saoid": true, "suoid": true, "scid": true, "skdutid": true, "sduoid": true,
	"srh": true, "srq": true, "sdd": true,
}

// verifySAS checks signature, times, protocol and source address. What the
// token lets its holder do is permitSAS's question.
func (s *Service) verifySAS(r *http.Request, t *target) (*sasToken, error) {
	tok, err := parseSAS(t.query)
	if err != nil {
		return nil, err
	}
	if tok.kind != delegationSAS && !t.found.AllowSharedKey {
		return nil, errKeyAuthForbidden()
	}
	if err := s.checkSASSignature(r, t, tok); err != nil {
		return nil, err
	}
	if err := s.checkSASTimes(tok); err != nil {
		return nil, err
	}
	if spr := tok.get("spr"); spr != "" {
		if spr != "https" && spr != "https,http" && spr != "http,https" {
			return nil, errAuthenticationFailed("spr is not in the correct format.")
		}
		if spr == "https" && r.TLS == nil {
			return nil, errMismatch("Protocol", "protocol")
		}
	}
	if sip := tok.get("sip"); sip != "" && !inRange(r.RemoteAddr, sip) {
		return nil, errMismatch("SourceIP", "source IP")
	}
	return tok, nil
}

func (s *Service) checkSASSignature(r *http.Request, t *target, tok *sasToken) error {
	resource, err := sasResource(t, tok)
	if err != nil {
		return err
	}
	var candidates []string
	keys := t.found.Keys
	switch tok.kind {
	case accountSAS:
		candidates = []string{accountString(t.found.Name, tok)}
	case serviceSAS:
		if tok.get("si") != "" {
			return errAuthenticationFailed("Access policy specified in the signature does not exist.")
		}
		candidates = []string{serviceString(resource, tok)}
	case delegationSAS:
		secret, signer, err := s.delegationKey(r.Context(), t.found.Name, tok)
		if err != nil {
			return err
		}
		tok.signer = signer
		keys = [2]string{base64.StdEncoding.EncodeToString(secret)}
		candidates = delegationStrings(resource, tok)
	}
	for _, toSign := range candidates {
		if signedWith(keys, toSign, tok.get("sig")) {
			return nil
		}
	}
	return errAuthenticationFailed("Signature did not match. String to sign used was " + candidates[0])
}

// sasResource is the canonical name of what a service SAS was signed for.
func sasResource(t *target, tok *sasToken) (string, error) {
	if tok.kind == accountSAS {
		return "", nil
	}
	prefix := "/blob/"
	if tok.version < emptyLengthVersion {
		prefix = "/"
	}
	switch tok.get("sr") {
	case "c":
		return prefix + t.found.Name + "/" + t.container, nil
	case "b":
		return prefix + t.found.Name + "/" + t.container + "/" + strings.ReplaceAll(t.blob, "\\", "/"), nil
	}
	return "", errAuthenticationFailed("sr is mandatory. Cannot be empty or of a kind that is not supported: '" + tok.get("sr") + "'.")
}

func (s *Service) checkSASTimes(tok *sasToken) error {
	now := s.now()
	expiry, err := parseSASTime(tok.get("se"))
	if err != nil {
		return errAuthenticationFailed("Signed expiry is mandatory and must be a valid time: '" + tok.get("se") + "'.")
	}
	start := time.Time{}
	if st := tok.get("st"); st != "" {
		if start, err = parseSASTime(st); err != nil {
			return errAuthenticationFailed("Signed start is not a valid time: '" + st + "'.")
		}
	}
	if now.Before(start) || !now.Before(expiry) {
		return errAuthenticationFailed(fmt.Sprintf("Signature not valid in the specified time frame: Start [%s] - Expiry [%s] - Current [%s]",
			httpTime(start), httpTime(expiry), httpTime(now)))
	}
	return nil
}

// parseSASTime takes the ISO 8601 forms the documentation lists.
func parseSASTime(v string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", time.DateOnly} {
		if t, err := time.Parse(layout, v); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time", v)
}

// inRange reports whether the caller's address is one of sip's: an address or
// "first-last".
func inRange(remote, sip string) bool {
	if host, _, err := net.SplitHostPort(remote); err == nil {
		remote = host
	}
	at, err := netip.ParseAddr(remote)
	if err != nil {
		return false
	}
	first, last, ok := strings.Cut(sip, "-")
	if !ok {
		last = first
	}
	lo, err1 := netip.ParseAddr(first)
	hi, err2 := netip.ParseAddr(last)
	at = at.Unmap()
	return err1 == nil && err2 == nil && at.Compare(lo) >= 0 && at.Compare(hi) <= 0
}

// permitSAS holds a signature's permissions, and a signer's roles, against the
// operation.
func (s *Service) permitSAS(r *http.Request, t *target, rw *row) error {
	switch t.sas.kind {
	case accountSAS:
		if !strings.Contains(t.sas.get("ss"), "b") {
			return errMismatch("Service", "service")
		}
		if !strings.ContainsRune(t.sas.get("srt"), rune(rw.level)) {
			return errMismatch("ResourceType", "resource type")
		}
	default:
		if !rw.serviceSAS {
			return errMismatch("ResourceType", "resource type")
		}
	}
	if rw.grants != "" && !t.sas.allows(rw.grants) {
		return errPermissionMismatch()
	}
	if t.sas.kind != delegationSAS {
		return nil
	}
	d := s.authorizer.Decide(r.Context(), t.sas.signer, rw.Check(r))
	httpx.Entry(r.Context()).Decide(d)
	if !d.Allowed {
		return errPermissionMismatch()
	}
	return nil
}
