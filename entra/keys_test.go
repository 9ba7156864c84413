package entra

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/covers"
)

// caching is a verifier that reads the key set once, and again only for a key
// it does not know: what libraries do.
type caching struct {
	keys    jose.JSONWebKeySet
	fetched int
}

func (c *caching) verify(t *testing.T, w world, raw string) error {
	t.Helper()
	_, err := jwt.Parse(raw, func(token *jwt.Token) (any, error) {
		kid, _ := token.Header["kid"].(string)
		if len(c.keys.Key(kid)) == 0 {
			c.fetched++
			if err := json.Unmarshal([]byte(w.get(t, login+tid+"/discovery/v2.0/keys").raw), &c.keys); err != nil {
				t.Fatal(err)
			}
		}
		if found := c.keys.Key(kid); len(found) == 1 {
			return found[0].Key, nil
		}
		return nil, errors.New("unknown kid")
	}, jwt.WithValidMethods([]string{"RS256"}), jwt.WithTimeFunc(w.clock.Now))
	return err
}

// TestKeyRotation: verifiers that cache the key set take old tokens and new
// ones, and fetch it again only when they have missed a rotation.
func TestKeyRotation(t *testing.T) {
	covers.R(t, "R-524")
	dir := filepath.Join(t.TempDir(), "keys")
	docs := newDocs(t)
	w := newWorld(t, func(d *Deps) { d.KeyDir, d.Documents = dir, docs })
	token := func(w world) string {
		t.Helper()
		token, err := w.Mint(t.Context(), userB, storageURI, MintOptions{Lifetime: managedIdentityLife})
		if err != nil {
			t.Fatal(err)
		}
		return token.Raw
	}
	rotate := func(w world, revoke bool) {
		t.Helper()
		if err := w.RotateKeys(t.Context(), revoke); err != nil {
			t.Fatal(err)
		}
	}
	uses := func(w world) (out []string) {
		t.Helper()
		keys, err := w.SigningKeys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			out = append(out, k.Use)
		}
		return out
	}
	both := func(w world, c *caching, raw string) error {
		t.Helper()
		_, err := w.Verify(t.Context(), raw, storageAudiences)
		return errors.Join(err, c.verify(t, w, raw))
	}
	verifier := &caching{}
	first := token(w)
	if err := both(w, verifier, first); err != nil {
		t.Fatal(err)
	}
	rotate(w, false)
	second := token(w)
	for _, raw := range []string{first, second} {
		if err := both(w, verifier, raw); err != nil {
			t.Error(err)
		}
	}
	if verifier.fetched != 1 || part(t, first, 0)["kid"] == part(t, second, 0)["kid"] {
		t.Errorf("fetched %d times", verifier.fetched)
	}
	if got := uses(w); !slices.Equal(got, []string{"signing", "next", "retired"}) {
		t.Errorf("keys %v", got)
	}
	rotate(w, false)
	third := token(w)
	for _, raw := range []string{third, first, second} {
		if err := both(w, verifier, raw); err != nil {
			t.Error(err)
		}
	}
	if verifier.fetched != 2 {
		t.Errorf("fetched %d times", verifier.fetched)
	}

	// A killed emulator left half a file; the keys are those it had.
	if err := os.WriteFile(filepath.Join(dir, ".signing-123"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := newWorld(t, func(d *Deps) { d.KeyDir, d.Documents = dir, docs })
	if got := uses(again); !slices.Equal(got, []string{"signing", "next", "retired", "retired"}) {
		t.Errorf("keys after a restart %v", got)
	}
	for _, raw := range []string{third, first, second} {
		if err := both(again, &caching{}, raw); err != nil {
			t.Error(err)
		}
	}
	if part(t, token(again), 0)["kid"] != part(t, third, 0)["kid"] {
		t.Error("another key signs after a restart")
	}

	// The old ones go when all that they signed has expired, not before.
	again.clock.Advance(managedIdentityLife)
	if err := both(again, verifier, first); errors.Is(err, azure.ErrTokenSignature) {
		t.Errorf("in its last second: %v", err)
	}
	again.clock.Advance(KeyOverlap - managedIdentityLife)
	if got := uses(again); !slices.Equal(got, []string{"signing", "next"}) {
		t.Errorf("keys after the overlap %v", got)
	}
	if _, err := again.Verify(t.Context(), first, storageAudiences); !errors.Is(err, azure.ErrTokenSignature) {
		t.Errorf("a token of a key that is gone, seen before: %v", err)
	}

	// Revoked: at once, and what was cached is not handed out again.
	managed, err := again.ManagedIdentityToken(t.Context(), userB, storageURI)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Verify(t.Context(), managed.Raw, storageAudiences); err != nil {
		t.Fatal(err)
	}
	rotate(again, true)
	if _, err := again.Verify(t.Context(), managed.Raw, storageAudiences); !errors.Is(err, azure.ErrTokenSignature) {
		t.Errorf("a token of a revoked key: %v", err)
	}
	fresh, err := again.ManagedIdentityToken(t.Context(), userB, storageURI)
	if err != nil || fresh.Raw == managed.Raw {
		t.Errorf("after the revocation: %v", err)
	}
	if _, err := again.Verify(t.Context(), fresh.Raw, storageAudiences); err != nil {
		t.Error(err)
	}
	if got := uses(again); !slices.Equal(got, []string{"signing", "next"}) {
		t.Errorf("keys after a revocation %v", got)
	}
	if info, err := os.Stat(filepath.Join(dir, keyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}

// A rotation that cannot be written has not happened.
func TestKeyRotationFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	w := newWorld(t, func(d *Deps) { d.KeyDir = dir })
	raw := w.mint(t, principalC, storageURI)
	if err := os.Rename(dir, dir+"-gone"); err != nil {
		t.Fatal(err)
	}
	if err := w.RotateKeys(t.Context(), true); err == nil {
		t.Error("it said nothing")
	}
	if _, err := w.Verify(t.Context(), raw, storageAudiences); err != nil {
		t.Error(err)
	}
	if keys, err := w.SigningKeys(t.Context()); err != nil || keys[0].ID != part(t, raw, 0)["kid"] || len(keys) != 2 {
		t.Errorf("%v %v", keys, err)
	}
}

func TestKeysSurviveARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	docs := newDocs(t)
	start := func() world {
		return newWorld(t, func(d *Deps) { d.KeyDir, d.Documents = dir, docs })
	}
	first := start()
	raw := first.mint(t, principalC, storageURI)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := start()
	if _, err := second.Verify(t.Context(), raw, []string{storageURI}); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v %v", info, err)
	}
	path := filepath.Join(dir, keyFile)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	start()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file: %v %v", info, err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 2 { // keyFile and refreshKeyFile
		t.Errorf("left in the folder: %v", entries)
	}
}

func TestDamagedKeysAreNamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, keyFile), []byte("not PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := openKeyring(dir, clock.NewManual(epoch))
	if err == nil || !strings.Contains(err.Error(), keyFile) {
		t.Errorf("got %v, want an error naming %s", err, keyFile)
	}
}
