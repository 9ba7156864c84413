package graph

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// applicationBody is what creating and changing act upon.
type applicationBody struct {
	DisplayName         *string   `json:"displayName"`
	IdentifierURIs      []string  `json:"identifierUris"`
	KeyCredentials      []keyWish `json:"keyCredentials"`
	PasswordCredentials []any     `json:"passwordCredentials"`
}

// apply changes the application; what would be needed to sign in and is not
// emulated is refused rather than lost.
func (s *Service) apply(tx store.Tx, b applicationBody, app *application) error {
	if len(b.PasswordCredentials) > 0 {
		return httpx.Errorf(http.StatusNotImplemented, "NotImplemented",
			"amlocal does not emulate passwords given with the application: use addPassword.")
	}
	if b.KeyCredentials != nil {
		if err := s.replaceKeys(tx, app, b.KeyCredentials); err != nil {
			return err
		}
	}
	if b.DisplayName != nil {
		app.DisplayName = *b.DisplayName
	}
	if b.IdentifierURIs != nil {
		app.IdentifierURIs = b.IdentifierURIs
	}
	return nil
}

func (s *Service) listApplications(w http.ResponseWriter, r *http.Request) error {
	var all []object
	err := s.view(r.Context(), func(tx store.ReadTx) error {
		for _, app := range s.applications(tx) {
			all = append(all, app.object())
		}
		return nil
	})
	if err != nil {
		return err
	}
	return replyList(w, r, "applications", all)
}

func (s *Service) getApplication(w http.ResponseWriter, r *http.Request) error {
	var app application
	err := s.view(r.Context(), func(tx store.ReadTx) error {
		var ok bool
		if app, ok = s.applicationByID(tx, variable(r, "id")); !ok {
			return errNotFound(variable(r, "id"))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return replyOne(w, http.StatusOK, "applications", app.object())
}

func (s *Service) createApplication(w http.ResponseWriter, r *http.Request) error {
	var body applicationBody
	if err := readBody(r, &body); err != nil {
		return err
	}
	if body.DisplayName == nil || *body.DisplayName == "" {
		return errBadRequest("Property displayName is required.")
	}
	app := application{ID: uuid.NewString(), AppID: uuid.NewString(), Created: s.deps.Clock.Now()}
	err := s.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		if err := s.apply(tx, body, &app); err != nil {
			return err
		}
		return putApplication(tx, app)
	})
	if err != nil {
		return err
	}
	return replyOne(w, http.StatusCreated, "applications", app.object())
}

// change runs f on the application the path names and stores it.
func (s *Service) change(r *http.Request, f func(tx store.Tx, app *application) error) error {
	id := variable(r, "id")
	return s.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		app, ok := s.applicationByID(tx, id)
		if !ok {
			return errNotFound(id)
		}
		if err := f(tx, &app); err != nil {
			return err
		}
		return putApplication(tx, app)
	})
}

func (s *Service) updateApplication(w http.ResponseWriter, r *http.Request) error {
	var body applicationBody
	if err := readBody(r, &body); err != nil {
		return err
	}
	err := s.change(r, func(tx store.Tx, app *application) error { return s.apply(tx, body, app) })
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// deleteApplication takes its service principal with it, and its credentials.
func (s *Service) deleteApplication(w http.ResponseWriter, r *http.Request) error {
	id := variable(r, "id")
	err := s.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		app, ok := s.applicationByID(tx, id)
		if !ok {
			return errNotFound(id)
		}
		for _, p := range app.Passwords {
			if err := s.deps.Directory.RemovePassword(tx, app.AppID, p.KeyID); err != nil {
				return err
			}
		}
		for _, k := range app.Keys {
			if err := s.deps.Directory.RemoveCertificate(tx, app.AppID, k.KeyID); err != nil {
				return err
			}
		}
		for _, f := range app.Federated {
			if err := s.deps.Directory.RemoveFederatedCredential(tx, app.AppID, f.ID); err != nil {
				return err
			}
		}
		if p, ok := s.deps.Directory.PrincipalByAppID(tx, app.AppID); ok {
			if err := s.deps.Directory.DeletePrincipal(tx, p.ObjectID); err != nil {
				return err
			}
		}
		return tx.Delete(applicationsBucket, []byte(strings.ToLower(app.AppID)))
	})
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// addPassword makes a password. Its text is in this answer and nowhere else.
func (s *Service) addPassword(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		PasswordCredential struct {
			DisplayName string    `json:"displayName"`
			Start       time.Time `json:"startDateTime"`
			End         time.Time `json:"endDateTime"`
		} `json:"passwordCredential"`
	}
	if err := readBody(r, &body); err != nil {
		return err
	}
	now := s.deps.Clock.Now()
	made := password{KeyID: uuid.NewString(), DisplayName: body.PasswordCredential.DisplayName, Start: body.PasswordCredential.Start, End: body.PasswordCredential.End}
	if made.Start.IsZero() {
		made.Start = now
	}
	if made.End.IsZero() {
		made.End = now.AddDate(2, 0, 0)
	}
	if !made.End.After(made.Start) {
		return errBadRequest("Credential lifetime is invalid: endDateTime has to be later than startDateTime.")
	}
	random := make([]byte, 30)
	_, _ = rand.Read(random) // never fails (crypto/rand)
	// No dash: as a first character it would make an option of a command line.
	secret := strings.NewReplacer("-", "~", "_", ".").Replace(base64.RawURLEncoding.EncodeToString(random))
	made.Hint = secret[:3]
	err := s.change(r, func(tx store.Tx, app *application) error {
		app.Passwords = append(app.Passwords, made)
		return s.deps.Directory.AddPassword(tx, app.AppID, made.KeyID, secret, made.End)
	})
	if err != nil {
		return err
	}
	o := made.object()
	o["secretText"] = secret
	o["@odata.context"] = contextURL + "microsoft.graph.passwordCredential"
	return reply(w, http.StatusOK, o)
}

func (s *Service) removePassword(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		KeyID string `json:"keyId"`
	}
	if err := readBody(r, &body); err != nil {
		return err
	}
	err := s.change(r, func(tx store.Tx, app *application) error {
		i := slices.IndexFunc(app.Passwords, func(p password) bool { return strings.EqualFold(p.KeyID, body.KeyID) })
		if i < 0 {
			return errBadRequest("No password credential found with keyId.")
		}
		app.Passwords = slices.Delete(app.Passwords, i, i+1)
		return s.deps.Directory.RemovePassword(tx, app.AppID, body.KeyID)
	})
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}
