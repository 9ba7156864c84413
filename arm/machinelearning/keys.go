package machinelearning

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// newKey is 32 random letters and digits, the form real keys have.
func newKey() (string, error) {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	out := make([]byte, 32)
	for i := range out {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(letters))))
		if err != nil {
			return "", fmt.Errorf("random key: %w", err)
		}
		out[i] = letters[n.Int64()]
	}
	return string(out), nil
}

// newKeys fills a new endpoint's keys; a creation body may bring its own.
func (p *Provider) newKeys(rec *arm.Record, doc arm.Document) error {
	for _, name := range []string{"primaryKey", "secondaryKey", "tokenKey"} {
		key := doc.String("properties", "keys", name)
		if key == "" || name == "tokenKey" {
			var err error
			if key, err = newKey(); err != nil {
				return err
			}
		}
		rec.Secret[name] = key
	}
	return nil
}

func (p *Provider) listEndpointKeys(w http.ResponseWriter, r *arm.Request) error {
	rec, err := p.view(r.Context(), r.ID)
	if err != nil {
		return err
	}
	if mode := rec.Document.String("properties", "authMode"); mode != "Key" {
		return errInvalid("The endpoint '%s' uses %s authentication and has no keys.", rec.Name(), mode)
	}
	return arm.Reply(w, http.StatusOK, arm.Document{
		"primaryKey": rec.Secret.String("primaryKey"), "secondaryKey": rec.Secret.String("secondaryKey")})
}

// regenerateKeys makes a new key. keyValue is taken only when it differs from
// the key in force: azure-ai-ml sends the current one, and means a new one.
func (p *Provider) regenerateKeys(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	kind, ok := oneOf(doc.String("keyType"), "Primary", "Secondary")
	if !ok {
		return errInvalid("keyType must be Primary or Secondary.")
	}
	member := strings.ToLower(kind) + "Key"
	var jobID string
	err = p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		rec, err := must(tx, r.ID)
		if err != nil {
			return err
		}
		if err := idle("endpoint", rec); err != nil {
			return err
		}
		if mode := rec.Document.String("properties", "authMode"); mode != "Key" {
			return errInvalid("The endpoint '%s' uses %s authentication and has no keys.", rec.Name(), mode)
		}
		value := doc.String("keyValue")
		if value == "" || value == rec.Secret.String(member) {
			if value, err = newKey(); err != nil {
				return err
			}
		}
		rec.Secret[member] = value
		if err := arm.Put(tx, rec); err != nil {
			return err
		}
		if jobID, err = p.deps.Operations.Begin(tx, jobRegenerate, r.ID, nil); err != nil {
			return err
		}
		return p.refreshRoute(tx, rec.ID)
	})
	if err != nil {
		return err
	}
	p.deps.Operations.PollHeaders(w.Header(), r, jobID)
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// tokenLife is unpublished; an hour, refreshed after half.
const tokenLife = time.Hour

func (p *Provider) endpointToken(w http.ResponseWriter, r *arm.Request) error {
	rec, err := p.view(r.Context(), r.ID)
	if err != nil {
		return err
	}
	if mode := rec.Document.String("properties", "authMode"); mode != "AMLToken" {
		return errInvalid("The endpoint '%s' uses %s authentication and issues no tokens.", rec.Name(), mode)
	}
	now := p.deps.Clock.Now()
	claims := jwt.RegisteredClaims{
		Issuer: "azureml", Subject: r.Caller().ObjectID, Audience: jwt.ClaimStrings{r.ID.Key()},
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(tokenLife)),
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(rec.Secret.String("tokenKey")))
	if err != nil {
		return fmt.Errorf("sign endpoint token: %w", err)
	}
	return arm.Reply(w, http.StatusOK, arm.Document{
		"accessToken": token, "tokenType": "Bearer",
		"expiryTimeUtc": now.Add(tokenLife).Unix(), "refreshAfterTimeUtc": now.Add(tokenLife / 2).Unix()})
}

// VerifyAMLToken checks an aml_token against the endpoint that issued it.
func (p *Provider) VerifyAMLToken(endpointID, raw string) error {
	id, err := azure.ParseResourceID(endpointID)
	if err != nil {
		return err
	}
	route := p.routes.byID(id.Key())
	if route == nil {
		return arm.NotFound(id)
	}
	_, err = jwt.ParseWithClaims(raw, &jwt.RegisteredClaims{}, func(*jwt.Token) (any, error) { return []byte(route.tokenKey), nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithAudience(id.Key()), jwt.WithExpirationRequired(), jwt.WithTimeFunc(p.deps.Clock.Now))
	return err
}
