package entra

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/amlocal/amlocal/store"
)

// refreshLife is how long a refresh token works unused.
const refreshLife = 90 * 24 * time.Hour

// refreshPrefix is what a refresh token begins with; clients look at nothing
// in it.
const refreshPrefix = "1.A"

// refreshContent is what a refresh token says, to nobody but us: it is sealed.
// So nothing is written when one is issued, and it outlives a restart.
type refreshContent struct {
	User        string    `json:"u"`
	Client      string    `json:"c"`
	Family      bool      `json:"f,omitempty"`
	Issued      time.Time `json:"i"`
	Resource    string    `json:"r,omitempty"`
	Permissions []string  `json:"p,omitempty"`
	Methods     []string  `json:"m,omitempty"`
}

// refreshKeyFile keeps the key that seals refresh tokens.
const refreshKeyFile = "refresh.key"

// openSeal reads the sealing key in dir or makes one; without a dir it lives
// as long as the process.
func openSeal(dir string) (cipher.AEAD, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	if dir != "" {
		path := filepath.Join(dir, refreshKeyFile)
		stored, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return nil, err
			}
			if err := writeWhole(path, key); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, err
		case len(stored) != len(key):
			return nil, fmt.Errorf("%s is damaged; remove it, and who is signed in has to sign in again", refreshKeyFile)
		default:
			key = stored
		}
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// sealRefresh makes a new refresh token. The ones before it go on working, as
// in Entra ID.
func (s *Service) sealRefresh(given delegation) string {
	raw, _ := json.Marshal(refreshContent{ // plain fields always encode
		User: given.user.ObjectID, Client: given.client.id, Family: given.client.family, Issued: s.deps.Clock.Now().UTC(),
		Resource: given.wish.resource, Permissions: given.wish.permissions, Methods: given.methods,
	})
	nonce := make([]byte, s.seal.NonceSize())
	_, _ = rand.Read(nonce) // never fails (crypto/rand)
	return refreshPrefix + base64.RawURLEncoding.EncodeToString(s.seal.Seal(nonce, nonce, raw, nil))
}

func (s *Service) openRefresh(token string) (c refreshContent, err error) {
	body, ok := strings.CutPrefix(token, refreshPrefix)
	if !ok {
		return c, errors.New("it does not begin as ours do")
	}
	sealed, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return c, err
	}
	if len(sealed) < s.seal.NonceSize() {
		return c, errors.New("too short")
	}
	raw, err := s.seal.Open(nil, sealed[:s.seal.NonceSize()], sealed[s.seal.NonceSize():], nil)
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(raw, &c)
}

func (s *Service) refreshGrant(ctx context.Context, form url.Values, given *delegation) error {
	if form.Get("refresh_token") == "" {
		return errMissingField("refresh_token")
	}
	c, err := s.openRefresh(form.Get("refresh_token"))
	if err != nil {
		return errRefreshMalformed().Because(err)
	}
	if !strings.EqualFold(c.Client, given.client.id) && (!c.Family || !given.client.family) {
		return errRefreshClient(given.client.id)
	}
	now := s.deps.Clock.Now()
	if idle := now.Sub(c.Issued); idle > refreshLife {
		return errRefreshExpired(c.Issued)
	}
	err = s.deps.Documents.View(ctx, func(tx store.ReadTx) error {
		user, ok := s.Principal(tx, c.User)
		if !ok {
			return errUserDeleted(c.User)
		}
		if rec, ok := getRecord[passwordRecord](tx, passwordsBucket, []byte(fold(c.User))); ok && c.Issued.Before(rec.Since) {
			return errGrantRevoked(c.Issued, rec.Since)
		}
		given.user = user
		return nil
	})
	if err != nil {
		return err
	}
	// A client that asks for no refresh token has one already, and gets the next.
	given.wish = given.wish.orElse(wish{resource: c.Resource, permissions: c.Permissions, openID: true, offline: true})
	given.methods = c.Methods
	return nil
}
