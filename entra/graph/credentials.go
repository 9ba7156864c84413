package graph

import (
	"crypto/sha1" //nolint:gosec // customKeyIdentifier is a SHA-1 thumbprint by default
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/store"
)

// keyCredential is what may be told of a certificate.
type keyCredential struct {
	KeyID       string    `json:"keyId"`
	DisplayName string    `json:"displayName,omitempty"`
	Identifier  string    `json:"customKeyIdentifier"`
	Type        string    `json:"type"`
	Usage       string    `json:"usage"`
	Start       time.Time `json:"start"`
	End         time.Time `json:"end"`
}

// keyWish is a certificate as a client gives it. One without a key stands for
// one that is there already.
type keyWish struct {
	KeyID       string  `json:"keyId"`
	DisplayName string  `json:"displayName"`
	Identifier  string  `json:"customKeyIdentifier"`
	Type        string  `json:"type"`
	Usage       string  `json:"usage"`
	Key         *string `json:"key"`
}

func (k keyCredential) object() object {
	return object{
		"keyId": k.KeyID, "displayName": k.DisplayName, "customKeyIdentifier": k.Identifier, "type": k.Type, "usage": k.Usage, "key": nil,
		"startDateTime": k.Start.UTC().Format(time.RFC3339), "endDateTime": k.End.UTC().Format(time.RFC3339),
	}
}

// replaceKeys makes the collection what the client says it is.
func (s *Service) replaceKeys(tx store.Tx, app *application, wishes []keyWish) error {
	var keep []keyCredential
	for _, wish := range wishes {
		i := slices.IndexFunc(app.Keys, func(k keyCredential) bool { return strings.EqualFold(k.KeyID, wish.KeyID) })
		if wish.Key == nil || *wish.Key == "" {
			if i < 0 {
				return errBadRequest("New key credential must have 'key' property set to a valid value.")
			}
			keep = append(keep, app.Keys[i])
			continue
		}
		made, der, err := wish.certificate()
		if err != nil {
			return err
		}
		if err := s.deps.Directory.AddCertificate(tx, app.AppID, made.KeyID, der); err != nil {
			return errBadRequest("Key credential is not valid: %v", err)
		}
		keep = append(keep, made)
	}
	for _, old := range app.Keys {
		if !slices.ContainsFunc(keep, func(k keyCredential) bool { return k.KeyID == old.KeyID }) {
			if err := s.deps.Directory.RemoveCertificate(tx, app.AppID, old.KeyID); err != nil {
				return err
			}
		}
	}
	app.Keys = keep
	return nil
}

// certificate reads the key: a certificate in base64, its text form too, which
// the CLI takes apart itself.
func (k keyWish) certificate() (keyCredential, []byte, error) {
	if k.Type != "" && k.Type != "AsymmetricX509Cert" {
		return keyCredential{}, nil, errBadRequest("Key credential type %q is not emulated: AsymmetricX509Cert is.", k.Type)
	}
	der, err := base64.StdEncoding.DecodeString(*k.Key)
	if err != nil {
		return keyCredential{}, nil, errBadRequest("Cannot convert the literal '%s' to the expected type 'Edm.Binary'.", *k.Key)
	}
	if block, _ := pem.Decode(der); block != nil {
		der = block.Bytes
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return keyCredential{}, nil, errBadRequest("Key value is invalid certificate").Because(err)
	}
	sum := sha1.Sum(der) //nolint:gosec // see the import
	made := keyCredential{
		KeyID: k.KeyID, DisplayName: k.DisplayName, Identifier: k.Identifier, Type: "AsymmetricX509Cert", Usage: "Verify",
		Start: c.NotBefore, End: c.NotAfter,
	}
	if made.KeyID == "" {
		made.KeyID = uuid.NewString()
	}
	if made.Identifier == "" {
		made.Identifier = strings.ToUpper(hex.EncodeToString(sum[:]))
	}
	if made.DisplayName == "" {
		made.DisplayName = c.Subject.String()
	}
	return made, der, nil
}

// federatedCredential is an application's trust in another issuer's tokens.
type federatedCredential struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Issuer      string   `json:"issuer"`
	Subject     string   `json:"subject"`
	Description string   `json:"description"`
	Audiences   []string `json:"audiences"`
}

func (f federatedCredential) object() object {
	return object{"id": f.ID, "name": f.Name, "issuer": f.Issuer, "subject": f.Subject, "description": f.Description, "audiences": f.Audiences}
}

// maxFederated is Entra ID's own limit.
const maxFederated = 20

// check holds what Graph holds: all three parts, one audience, a name once.
func (f federatedCredential) check(others []federatedCredential) error {
	switch {
	case f.Name == "" || f.Issuer == "" || f.Subject == "":
		return errBadRequest("The name, issuer and subject of a federated identity credential are required.")
	case len(f.Audiences) != 1:
		return errBadRequest("A federated identity credential must have exactly one audience.")
	case len(others) >= maxFederated:
		return errBadRequest("The number of federated identity credentials on an application may not exceed %d.", maxFederated)
	}
	for _, o := range others {
		if strings.EqualFold(o.Name, f.Name) {
			return errBadRequest("FederatedIdentityCredential with name %s already exists.", f.Name)
		}
		if o.Issuer == f.Issuer && o.Subject == f.Subject {
			return errBadRequest("FederatedIdentityCredential with same issuer and subject already exists.")
		}
	}
	return nil
}

func (s *Service) listFederated(w http.ResponseWriter, r *http.Request) error {
	var all []object
	err := s.withApplication(r, func(app application) error {
		for _, f := range app.Federated {
			all = append(all, f.object())
		}
		return nil
	})
	if err != nil {
		return err
	}
	return replyList(w, r, "federatedIdentityCredentials", all)
}

// withApplication runs f on the application the path names.
func (s *Service) withApplication(r *http.Request, f func(application) error) error {
	id := variable(r, "id")
	return s.view(r.Context(), func(tx store.ReadTx) error {
		app, ok := s.applicationByID(tx, id)
		if !ok {
			return errNotFound(id)
		}
		return f(app)
	})
}

// federatedIndex finds one by id or, as Graph does, by name.
func (a application) federatedIndex(id string) int {
	return slices.IndexFunc(a.Federated, func(f federatedCredential) bool { return strings.EqualFold(f.ID, id) || strings.EqualFold(f.Name, id) })
}

func (s *Service) getFederated(w http.ResponseWriter, r *http.Request) error {
	var found federatedCredential
	err := s.withApplication(r, func(app application) error {
		i := app.federatedIndex(variable(r, "fic"))
		if i < 0 {
			return errNotFound(variable(r, "fic"))
		}
		found = app.Federated[i]
		return nil
	})
	if err != nil {
		return err
	}
	return replyOne(w, http.StatusOK, "federatedIdentityCredentials", found.object())
}

func (s *Service) createFederated(w http.ResponseWriter, r *http.Request) error {
	var made federatedCredential
	if err := readBody(r, &made); err != nil {
		return err
	}
	made.ID = uuid.NewString()
	err := s.change(r, func(tx store.Tx, app *application) error {
		if err := made.check(app.Federated); err != nil {
			return err
		}
		app.Federated = append(app.Federated, made)
		return s.deps.Directory.TrustToken(tx, app.AppID, made.ID, made.Issuer, made.Subject, made.Audiences)
	})
	if err != nil {
		return err
	}
	return replyOne(w, http.StatusCreated, "federatedIdentityCredentials", made.object())
}

func (s *Service) updateFederated(w http.ResponseWriter, r *http.Request) error {
	var wish struct {
		Name, Issuer, Subject, Description *string
		Audiences                          []string
	}
	if err := readBody(r, &wish); err != nil {
		return err
	}
	err := s.change(r, func(tx store.Tx, app *application) error {
		i := app.federatedIndex(variable(r, "fic"))
		if i < 0 {
			return errNotFound(variable(r, "fic"))
		}
		f := app.Federated[i]
		if wish.Name != nil && *wish.Name != f.Name {
			return errBadRequest("The name of a federated identity credential cannot be changed.")
		}
		for into, from := range map[*string]*string{&f.Issuer: wish.Issuer, &f.Subject: wish.Subject, &f.Description: wish.Description} {
			if from != nil {
				*into = *from
			}
		}
		if wish.Audiences != nil {
			f.Audiences = wish.Audiences
		}
		if err := f.check(slices.Delete(slices.Clone(app.Federated), i, i+1)); err != nil {
			return err
		}
		app.Federated[i] = f
		return s.deps.Directory.TrustToken(tx, app.AppID, f.ID, f.Issuer, f.Subject, f.Audiences)
	})
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (s *Service) deleteFederated(w http.ResponseWriter, r *http.Request) error {
	err := s.change(r, func(tx store.Tx, app *application) error {
		i := app.federatedIndex(variable(r, "fic"))
		if i < 0 {
			return errNotFound(variable(r, "fic"))
		}
		id := app.Federated[i].ID
		app.Federated = slices.Delete(app.Federated, i, i+1)
		return s.deps.Directory.RemoveFederatedCredential(tx, app.AppID, id)
	})
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}
