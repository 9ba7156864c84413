package vault

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
)

// audience is the only resource a vault takes tokens for. Tokens for the
// vault's own address are refused, as recorded.
const audience = "https://vault.azure.net"

var audiences = []string{audience, audience + "/", "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"}

// authenticate names the caller.
func (s *Service) authenticate(r *http.Request, _ *httpx.Operation) (azure.Caller, error) {
	t := targetOf(r)
	header := strings.Join(r.Header.Values("Authorization"), ",") // two make no token
	scheme, raw, _ := strings.Cut(header, " ")
	raw = strings.TrimSpace(raw)
	if !strings.EqualFold(scheme, "Bearer") || raw == "" || r.TLS == nil {
		return azure.Caller{}, errNoToken(t.found)
	}
	claims, err := s.deps.Verifier.Verify(r.Context(), raw, audiences)
	if err != nil {
		return azure.Caller{}, errToken(t.found, raw, err)
	}
	if !strings.EqualFold(claims.Principal.TenantID, t.found.TenantID) {
		return azure.Caller{}, errIssuer(t.found, claims.Issuer)
	}
	t.issuer = claims.Issuer
	caller := azure.Caller{Scheme: azure.Bearer, Principal: claims.Principal}
	if err := reachable(t.found, claims.Principal, t.issuer); err != nil {
		return caller, err
	}
	if t.badName != "" {
		return caller, errName(t.badName)
	}
	return caller, nil
}

// reachable refuses where the vault's network settings let nobody in.
func reachable(v Vault, who azure.Principal, issuer string) error {
	switch {
	case v.Closed:
		return errClosed(v, who, issuer)
	case v.Walled:
		return errWalled(v, who, issuer)
	}
	return nil
}

// peek reads the claims of a refused token, which Azure quotes in its refusal.
// Nothing is decided by what it returns.
func peek(raw string) (aud, iss string) {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return "", ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", ""
	}
	var claims struct {
		Audience string `json:"aud"`
		Issuer   string `json:"iss"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return "", ""
	}
	return claims.Audience, claims.Issuer
}

// decider lets each vault decide as it is set: by roles or by policies.
type decider struct{ s *Service }

func (d decider) Decide(ctx context.Context, who azure.Principal, check azure.Check) azure.Decision {
	t := targetIn(ctx)
	if t == nil {
		return azure.Decision{Principal: who, Check: check}
	}
	return d.s.decide(ctx, t.found, who, check, d.s.rows[httpx.Entry(ctx).Operation].permission)
}

func (s *Service) decide(ctx context.Context, v Vault, who azure.Principal, check azure.Check, permission string) azure.Decision {
	if v.RBAC {
		return s.deps.Authorizer.Decide(ctx, who, check)
	}
	return s.byPolicy(v, who, check, permission)
}

// byPolicy looks for a policy of the principal, or of a group of theirs, that
// gives the permission.
func (s *Service) byPolicy(v Vault, who azure.Principal, check azure.Check, permission string) azure.Decision {
	d := azure.Decision{Principal: who, Check: check}
	miss := func(holder, reason string) {
		d.Misses = append(d.Misses, azure.Miss{Assignment: v.ResourceID, Role: "access policy of " + holder, Scope: v.ResourceID, Reason: reason})
	}
	for _, p := range v.Policies {
		if !strings.EqualFold(p.TenantID, v.TenantID) {
			continue
		}
		if !strings.EqualFold(p.ObjectID, who.ObjectID) && (s.deps.Groups == nil || !s.deps.Groups.IsMember(who, p.ObjectID)) {
			continue
		}
		if slices.ContainsFunc(p.Secrets, func(have string) bool {
			// Purging is never part of "all": it has to be named. From memory of
			// Azure's documents; of two readings the one that refuses.
			return strings.EqualFold(have, permission) || strings.EqualFold(have, "all") && permission != "purge"
		}) {
			d.Allowed, d.Assignment, d.Role, d.Misses = true, v.ResourceID, "access policy of "+p.ObjectID, nil
			return d
		}
		miss(p.ObjectID, fmt.Sprintf("it gives the secret permissions [%s], and %s is needed", strings.Join(p.Secrets, " "), permission))
	}
	if len(d.Misses) == 0 {
		miss("nobody of theirs", fmt.Sprintf("the vault %s decides by access policies, not by roles, and has none for this principal", v.Name))
	}
	d.Fixes = []azure.Fix{{
		Role: "access policy with the secret permission " + permission, Scope: v.ResourceID,
		Command: fmt.Sprintf("az keyvault set-policy --name %q --object-id %q --secret-permissions %s", v.Name, who.ObjectID, strings.Join(s.permissionsOf(v, who, permission), " ")),
	}}
	return d
}

// permissionsOf is what a principal's own policy has to hold: what it gives
// already, because set-policy replaces it, and the permission that is missing.
func (s *Service) permissionsOf(v Vault, who azure.Principal, missing string) []string {
	for _, p := range v.Policies {
		if strings.EqualFold(p.ObjectID, who.ObjectID) {
			return append(slices.Clone(p.Secrets), missing)
		}
	}
	return []string{missing}
}

// deny is the refusal of a decision, in the words of the vault's own way.
func (s *Service) deny(r *http.Request, d azure.Decision) error {
	t := targetOf(r)
	return denied(t.found, d, t.issuer, s.rows[httpx.Entry(r.Context()).Operation].permission)
}

func denied(v Vault, d azure.Decision, issuer, permission string) *httpx.Error {
	if v.RBAC {
		return errRoles(v, d, issuer)
	}
	return errPolicy(v, d.Principal, issuer, permission)
}

// errToken tells what is wrong with a token. The texts for audience, issuer and
// signature are recorded, the others unverified.
func errToken(v Vault, raw string, err error) error {
	aud, iss := peek(raw)
	switch {
	case errors.Is(err, azure.ErrTokenAudience):
		return errUnauthorized(v, fmt.Sprintf("AKV10022: Invalid audience. Expected %s, found: %s.", audience, aud), err)
	case errors.Is(err, azure.ErrTokenIssuer):
		return errIssuer(v, iss)
	case errors.Is(err, azure.ErrTokenSignature):
		return errUnauthorized(v, "AKV10046: Unable to resolve the key used for signature validation.", err)
	case errors.Is(err, azure.ErrTokenExpired):
		return errUnauthorized(v, "[TokenExpired] Error validating token: 'S2S12086'.", err)
	case errors.Is(err, azure.ErrTokenNotYetValid):
		return errUnauthorized(v, "[TokenNotYetValid] Error validating token: 'S2S12086'.", err)
	case errors.Is(err, azure.ErrTokenMalformed), errors.Is(err, azure.ErrTokenPrincipal):
		return errUnauthorized(v, "Error validating token.", err)
	}
	return fmt.Errorf("verify the token: %w", err)
}
