package entra

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// passwordRounds makes guessing a password that someone chose slow.
const passwordRounds = 100_000

// passwordRecord is what is kept of a user's password.
type passwordRecord struct {
	Salt   []byte `json:"salt"`
	Hash   []byte `json:"hash"`
	Rounds int    `json:"rounds"`
	// Since is when it was set: what was granted before is void.
	Since time.Time `json:"since"`
}

// SetUserPassword gives a user a password. Refresh tokens from before end, as
// in Entra ID.
func (s *Service) SetUserPassword(tx store.Tx, objectID, password string) error {
	p, ok := s.Principal(tx, objectID)
	switch {
	case !ok:
		return fmt.Errorf("entra: %s: %w", objectID, ErrNoPrincipal)
	case p.Type != azure.User:
		return fmt.Errorf("entra: %s is no user and has no password", p.Name)
	case password == "":
		return errors.New("entra: an empty password")
	}
	rec := passwordRecord{Salt: make([]byte, 16), Rounds: passwordRounds, Since: s.deps.Clock.Now()}
	_, _ = rand.Read(rec.Salt) // never fails (crypto/rand)
	var err error
	if rec.Hash, err = rec.hash(password); err != nil {
		return err
	}
	return putRecord(tx, passwordsBucket, []byte(fold(objectID)), rec)
}

func (r passwordRecord) hash(password string) ([]byte, error) {
	return pbkdf2.Key(sha256.New, password, r.Salt, r.Rounds, sha256.Size)
}

// CheckUserPassword finds the user of that name and password. The error is the
// one the sign-in page shows.
func (s *Service) CheckUserPassword(ctx context.Context, name, password string) (azure.Principal, error) {
	var user azure.Principal
	var rec passwordRecord
	var has bool
	err := s.deps.Documents.View(ctx, func(tx store.ReadTx) error {
		var ok bool
		if user, ok = s.userNamed(tx, name); !ok {
			return errUnknownUser(name, s.deps.TenantID)
		}
		rec, has = getRecord[passwordRecord](tx, passwordsBucket, []byte(fold(user.ObjectID)))
		return nil
	})
	if err != nil {
		return azure.Principal{}, err
	}
	if !has {
		return azure.Principal{}, errWrongPassword().Because(errors.New("this user has no password: `amlocal principals secret` gives one"))
	}
	hash, err := rec.hash(password)
	if err != nil || subtle.ConstantTimeCompare(hash, rec.Hash) != 1 {
		return azure.Principal{}, errWrongPassword().Because(err)
	}
	return user, nil
}

// userNamed finds a user by user principal name.
func (s *Service) userNamed(tx store.ReadTx, name string) (azure.Principal, bool) {
	for _, p := range s.Principals(tx) {
		if p.Type == azure.User && strings.EqualFold(p.Name, name) {
			return p, true
		}
	}
	return azure.Principal{}, false
}

func (s *Service) passwordGrant(ctx context.Context, form url.Values, given *delegation) (err error) {
	for _, name := range []string{"username", "password"} {
		if form.Get(name) == "" {
			return errMissingField(name)
		}
	}
	if given.user, err = s.CheckUserPassword(ctx, form.Get("username"), form.Get("password")); err != nil {
		return err
	}
	given.wish, given.methods = given.wish.orElse(wish{}), []string{"pwd"}
	return nil
}

// userRealm tells a client how the users of a domain sign in: ours with a
// password here, all others nobody knows.
func (s *Service) userRealm(w http.ResponseWriter, r *http.Request) error {
	name, err := url.PathUnescape(httpx.Var(r, "user"))
	if err != nil {
		name = httpx.Var(r, "user")
	}
	_, domain, _ := strings.Cut(name, "@")
	known := s.deps.TenantDomain != "" && strings.EqualFold(domain, s.deps.TenantDomain)
	if !known {
		err = s.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
			_, known = s.userNamed(tx, name)
			return nil
		})
		if err != nil {
			return err
		}
	}
	body := realmAnswer{Version: "1.0", Login: name, Domain: domain, AccountType: "Unknown", Cloud: "microsoftonline.com", CloudAudience: "urn:federation:MicrosoftOnline"}
	if known {
		body.AccountType = "Managed"
	}
	noStore(w)
	writeJSON(w, http.StatusOK, body)
	return nil
}
