package blobfake

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// authenticate names the caller. The Authorization header wins over a
// signature in the query.
func (s *Service) authenticate(r *http.Request, _ *httpx.Operation) (azure.Caller, error) {
	t := targetOf(r)
	account, err := s.account(r.Context(), t.account)
	if err != nil {
		return azure.Caller{}, err
	}
	t.found = account
	header := strings.Join(r.Header.Values("Authorization"), ",") // two make no credential
	scheme, value, _ := strings.Cut(header, " ")
	switch {
	case header == "" && t.query.has("sig"):
		sas, err := s.verifySAS(r, t)
		if err != nil {
			return azure.Caller{}, err
		}
		t.sas = sas
		return azure.Caller{Scheme: azure.SAS}, nil
	case header == "":
		return azure.Caller{Scheme: azure.Anonymous}, nil
	case strings.EqualFold(scheme, "SharedKey"):
		if err := s.verifySharedKey(r, t, strings.TrimSpace(value)); err != nil {
			return azure.Caller{}, err
		}
		return azure.Caller{Scheme: azure.SharedKey}, nil
	case strings.EqualFold(scheme, "Bearer"):
		who, err := s.verifyBearer(r, t, strings.TrimSpace(value))
		return azure.Caller{Scheme: azure.Bearer, Principal: who}, err
	}
	return azure.Caller{}, errInvalidScheme()
}

// verifyBearer checks a token in the order of wire/msi-and-tokens.md section 9.
func (s *Service) verifyBearer(r *http.Request, t *target, raw string) (azure.Principal, error) {
	if r.TLS == nil {
		return azure.Principal{}, errAuthenticationFailed("Authentication scheme Bearer is not allowed with HTTP.")
	}
	if !hasVersion(r) || t.version < bearerVersion {
		return azure.Principal{}, errAuthenticationFailed("Authentication scheme Bearer is not supported in this version.")
	}
	claims, err := s.verifier.Verify(r.Context(), raw, audiences(t.found.Name))
	if err != nil {
		detail, known := tokenDetail(err)
		if !known {
			return azure.Principal{}, fmt.Errorf("verify the token: %w", err)
		}
		return azure.Principal{}, s.errBadToken(t.version, detail, err)
	}
	return claims.Principal, nil
}

// audiences are the `aud` values blob accepts; the account must be the one
// addressed.
func audiences(account string) []string {
	own := "https://" + account + hostSuffix
	return []string{
		"https://storage.azure.com", "https://storage.azure.com/",
		"e406a681-f3d4-42a8-90b6-c2b029497af1", own, own + "/",
	}
}

// tokenDetail is the sentence Azure puts into AuthenticationErrorDetail. The
// lifetime and audience texts are recorded, the others unverified.
func tokenDetail(err error) (detail string, known bool) {
	for _, d := range []struct {
		err    error
		detail string
	}{
		{azure.ErrTokenExpired, "Lifetime validation failed. The token is expired."},
		{azure.ErrTokenNotYetValid, "Lifetime validation failed. The token is not yet valid."},
		{azure.ErrTokenAudience, "Audience validation failed. Audience did not match."},
		{azure.ErrTokenIssuer, "Issuer validation failed. Issuer did not match."},
		{azure.ErrTokenSignature, "Signature validation failed."},
		{azure.ErrTokenPrincipal, "Token validation failed. The principal does not exist."},
		{azure.ErrTokenMalformed, "Token validation failed. The token is malformed."},
	} {
		if errors.Is(err, d.err) {
			return d.detail, true
		}
	}
	return "", false
}

// permit is asked for callers that RBAC does not decide about.
func (s *Service) permit(r *http.Request, op *httpx.Operation, who azure.Caller) error {
	t, rw := targetOf(r), s.rows[op.Name]
	switch who.Scheme {
	case azure.SharedKey:
		if op.Name == "blobfake.GetUserDelegationKey" {
			// It is derived from the caller's token: a key has no object id.
			return errAuthenticationFailed("Only authentication scheme Bearer is supported.")
		}
		return nil
	case azure.SAS:
		return s.permitSAS(r, t, rw)
	case azure.Anonymous:
		return s.permitAnonymous(r.Context(), t, rw)
	}
	return errPermissionMismatch()
}

// permitAnonymous lets the public read what a container publishes, if its
// account lets containers publish at all.
func (s *Service) permitAnonymous(ctx context.Context, t *target, rw *row) error {
	if !t.found.AllowBlobPublicAccess {
		return errPublicAccessForbidden()
	}
	if rw.public == Private {
		return s.errAnonymous(t.version)
	}
	var public PublicAccess
	if err := s.docs.View(ctx, func(tx store.ReadTx) error {
		c, _, err := get[container](tx, containerBucket, key(t.account, t.container))
		public = c.Public
		return err
	}); err != nil {
		return err
	}
	if public == PublicContainer || public == rw.public && public != Private {
		return nil
	}
	return s.errAnonymous(t.version)
}

// creating lets blobs/add/action stand in for blobs/write where a blob would
// be new: the REST reference names both for the operations that create one.
type creating struct{ s *Service }

func (c creating) Decide(ctx context.Context, who azure.Principal, check azure.Check) azure.Decision {
	d := c.s.authorizer.Decide(ctx, who, check)
	t, ok := ctx.Value(targetKey{}).(*target)
	if d.Allowed || !ok || check.Action != writeBlobs {
		return d
	}
	switch httpx.Entry(ctx).Operation {
	case "blobfake.PutBlob", "blobfake.PutBlock", "blobfake.PutBlockList", "blobfake.CopyBlob":
	default:
		return d
	}
	check.Action = addBlobs
	add := c.s.authorizer.Decide(ctx, who, check)
	if !add.Allowed {
		return d // it names the narrower roles too
	}
	t.createOnly = true
	return add
}

// mayOverwrite is asked in the transaction that would replace a blob. A SAS
// with `c` alone creates, no more, and so does a role with blobs/add alone.
func mayOverwrite(r *http.Request) error {
	t := targetOf(r)
	switch {
	case t.sas != nil && !t.sas.allows("w"):
		return errBlobOverwrite()
	case t.createOnly:
		return errPermissionMismatch()
	}
	return nil
}
