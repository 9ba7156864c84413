package entra

import (
	"context"
	"time"
)

// KeyOverlap is how long a retired signing key is published: until no token
// that it signed is valid.
const KeyOverlap = managedIdentityLife + assertionSkew

// SigningKey is a published key as its owner may see it.
type SigningKey struct {
	ID string `json:"kid"`
	// Use is "signing", "next" or "retired".
	Use string `json:"use"`
	// Until is when a retired key goes.
	Until time.Time `json:"until,omitzero"`
}

// SigningKeys lists the published keys: the one that signs, the next one, and
// the retired ones.
func (s *Service) SigningKeys(ctx context.Context) ([]SigningKey, error) {
	keys, err := s.keys.wait(ctx)
	out := make([]SigningKey, 0, len(keys))
	for i, k := range keys {
		key := SigningKey{ID: k.kid, Use: "retired", Until: k.until}
		switch {
		case i == 0:
			key.Use = "signing"
		case k.until.IsZero():
			key.Use = "next"
		}
		out = append(out, key)
	}
	return out, err
}

// RotateKeys makes the next key the one that signs. Tokens of the old one stay
// valid until they expire, unless it is revoked: then they, and those of every
// retired key, are refused from now on.
func (s *Service) RotateKeys(ctx context.Context, revoke bool) error {
	overlap := KeyOverlap
	if revoke {
		overlap = 0
	}
	if err := s.keys.rotate(ctx, overlap); err != nil {
		return err
	}
	if revoke { // nobody finds them any more
		s.issued.drop(func(tokenKey) bool { return true })
	}
	return nil
}
