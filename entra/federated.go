package entra

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// The audience of tokens that are exchanged, as a URI and as the application
// that stands for it: managed identities ask by the first and get the second.
const (
	exchangeURI   = "api://AzureADTokenExchange"
	exchangeAppID = "fb60f99c-7a34-4190-8149-302f77469936"
)

// FederatedCredential makes an application, or a user-assigned identity, accept
// the tokens of another issuer as its own proof.
type FederatedCredential struct {
	ID        string   `json:"id"`
	Issuer    string   `json:"issuer"`
	Subject   string   `json:"subject"`
	Audiences []string `json:"audiences"`
}

// PutFederatedCredential adds or, by its id, replaces a federated credential.
func (s *Service) PutFederatedCredential(tx store.Tx, appID string, c FederatedCredential) error {
	list := slices.DeleteFunc(federatedOf(tx, appID), func(o FederatedCredential) bool { return strings.EqualFold(o.ID, c.ID) })
	return putRecord(tx, federatedBucket, []byte(fold(appID)), append(list, c))
}

// TrustToken is PutFederatedCredential for those who do not know this package.
func (s *Service) TrustToken(tx store.Tx, appID, id, issuer, subject string, audiences []string) error {
	return s.PutFederatedCredential(tx, appID, FederatedCredential{ID: id, Issuer: issuer, Subject: subject, Audiences: audiences})
}

// RemoveFederatedCredential takes one away; one that is not there is no error.
func (s *Service) RemoveFederatedCredential(tx store.Tx, appID, id string) error {
	list := slices.DeleteFunc(federatedOf(tx, appID), func(o FederatedCredential) bool { return strings.EqualFold(o.ID, id) })
	return putRecord(tx, federatedBucket, []byte(fold(appID)), list)
}

func federatedOf(tx store.ReadTx, appID string) []FederatedCredential {
	list, _ := getRecord[[]FederatedCredential](tx, federatedBucket, []byte(fold(appID)))
	return list
}

// PutIssuer makes the public keys of an outside issuer known, as the JSON key
// set that it publishes. Nothing is fetched: the emulator works offline.
func (s *Service) PutIssuer(tx store.Tx, issuer string, keys []byte) error {
	if !strings.HasPrefix(issuer, "https://") {
		return fmt.Errorf("entra: %q is no issuer: want its https URL, as its tokens have it in iss", issuer)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(keys, &set); err != nil {
		return fmt.Errorf("entra: the key set of %s: %w", issuer, err)
	}
	if len(set.Keys) == 0 {
		return fmt.Errorf("entra: the key set of %s holds no key", issuer)
	}
	for _, k := range set.Keys {
		if !k.IsPublic() {
			return fmt.Errorf("entra: the key set of %s holds a private or symmetric key (%q)", issuer, k.KeyID)
		}
	}
	return tx.Put(issuersBucket, []byte(issuer), keys)
}

// checkFederatedAssertion finds the credential that issuer, subject and
// audience match, exactly, and then checks that the issuer signed it.
func (s *Service) checkFederatedAssertion(ctx context.Context, tx store.ReadTx, app azure.Principal, a assertion) error {
	if err := matchFederated(federatedOf(tx, app.AppID), a); err != nil {
		return err
	}
	keys, err := s.issuerKeys(ctx, tx, a.claims.Issuer)
	if err != nil {
		return errIssuerKeys(a.claims.Issuer).Because(err)
	}
	kid, _ := a.header["kid"].(string)
	candidates := keys.Key(kid)
	if kid == "" {
		candidates = keys.Keys
	}
	err = errors.New("the issuer has no such key")
	for _, k := range candidates {
		if err = a.verify(k.Key, "RS256"); err == nil {
			break
		}
	}
	if err != nil {
		return errAssertionSignature(kid).Because(err)
	}
	if a.claims.Issuer == s.issuerV2() { // by the clock it was issued by
		// Of this tenant's tokens only those of managed identities count.
		if p, ok := s.Principal(tx, a.claims.Subject); !ok || !p.IsManagedIdentity() {
			return errOwnTokens(a.claims.Issuer)
		}
		return a.inTime(s.deps.Clock.Now())
	}
	return a.inTime(s.deps.ClientClock.Now())
}

func matchFederated(list []FederatedCredential, a assertion) error {
	issuer, subject, audience := a.claims.Issuer, a.claims.Subject, []string(a.claims.Audience)
	keep := func(wanted func(FederatedCredential) bool) bool {
		list = slices.DeleteFunc(slices.Clone(list), func(c FederatedCredential) bool { return !wanted(c) })
		return len(list) > 0
	}
	switch {
	case len(list) == 0:
		return errFederation(issuer, subject, audience)
	case !keep(func(c FederatedCredential) bool { return c.Issuer == issuer }):
		return errFederationPart(700211, "issuer", issuer)
	case !keep(func(c FederatedCredential) bool { return c.Subject == subject }):
		return errFederationPart(700213, "subject", subject)
	case !keep(func(c FederatedCredential) bool { return c.accepts(audience) }):
		return errFederationPart(700212, "audience", strings.Join(audience, ", "))
	}
	return nil
}

func (c FederatedCredential) accepts(audience []string) bool {
	return slices.ContainsFunc(audience, func(aud string) bool {
		return slices.Contains(c.Audiences, aud) || aud == exchangeAppID && slices.Contains(c.Audiences, exchangeURI)
	})
}

// issuerKeys are our own for our own tokens, else what PutIssuer was told.
func (s *Service) issuerKeys(ctx context.Context, tx store.ReadTx, issuer string) (set jose.JSONWebKeySet, err error) {
	if issuer == s.issuerV2() {
		keys, err := s.keys.wait(ctx)
		for _, k := range keys {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: &k.private.PublicKey, KeyID: k.kid})
		}
		return set, err
	}
	raw, ok := tx.Get(issuersBucket, []byte(issuer))
	if !ok {
		return set, errors.New("its key set is not known: give it with `amlocal issuers add` or in the world file")
	}
	return set, json.Unmarshal(raw, &set)
}
