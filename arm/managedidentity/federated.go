package managedidentity

import (
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

const federatedType = identityType + "/federatedIdentityCredentials"

// maxFederated is Azure's own limit for an identity.
const maxFederated = 20

// identityAt is the identity a credential belongs to.
func identityAt(tx store.ReadTx, id string) (*arm.Record, error) {
	rec, ok, err := arm.Get(tx, id)
	if err == nil && !ok {
		parent, parseErr := azure.ParseResourceID(id)
		if parseErr != nil {
			return nil, parseErr
		}
		err = arm.ParentNotFound(parent)
	}
	return rec, err
}

func (p *Provider) putFederated(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	issuer, subject := doc.String("properties", "issuer"), doc.String("properties", "subject")
	var audiences []string
	list, _ := doc.Object("properties")["audiences"].([]any)
	for _, a := range list {
		if text, ok := a.(string); ok {
			audiences = append(audiences, text)
		}
	}
	switch {
	case !validName(r.Name):
		return errName(r.Name)
	case issuer == "" || subject == "" || len(audiences) != 1: // code unverified
		return arm.BadRequest("BadRequest", "A federated identity credential needs an issuer, a subject and exactly one audience.")
	}
	status := http.StatusOK
	var rec *arm.Record
	err = p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		identity, err := identityAt(tx, r.Scope)
		if err != nil {
			return err
		}
		others, err := arm.List(tx, identity.ID, federatedType)
		if err != nil {
			return err
		}
		for _, o := range others {
			if strings.EqualFold(o.ID, r.ID.String()) {
				rec = o
			} else if o.Document.String("properties", "issuer") == issuer && o.Document.String("properties", "subject") == subject {
				return arm.BadRequest("BadRequest", "Issuer and subject combination already exists for this Managed Identity.")
			}
		}
		now := p.deps.Clock.Now()
		if rec == nil {
			if len(others) >= maxFederated {
				return arm.BadRequest("BadRequest", "Too many Federated Identity Credentials are configured for the managed identity: at most %d are allowed.", maxFederated)
			}
			status = http.StatusCreated
			rec = &arm.Record{ID: r.ID.String(), Type: federatedType, CreatedAt: now, CreatedBy: r.Author()}
		}
		rec.ModifiedAt, rec.ModifiedBy = now, r.Author()
		rec.Document = arm.Document{"properties": map[string]any{"issuer": issuer, "subject": subject, "audiences": list}}
		rec.Document["systemData"] = map[string]any(rec.SystemData())
		if err := arm.Put(tx, rec); err != nil {
			return err
		}
		return p.deps.Directory.TrustToken(tx, principalOf(identity).AppID, strings.ToLower(r.Name), issuer, subject, audiences)
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, status, rec.Body())
}

func (p *Provider) listFederated(w http.ResponseWriter, r *arm.Request) error {
	items := []arm.Document{}
	err := p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		if _, err := identityAt(tx, r.Scope); err != nil {
			return err
		}
		recs, err := arm.List(tx, r.Scope, federatedType)
		for _, rec := range recs {
			items = append(items, rec.Body())
		}
		return err
	})
	if err != nil {
		return err
	}
	return arm.ReplyList(w, items)
}

func (p *Provider) deleteFederated(w http.ResponseWriter, r *arm.Request) error {
	status := http.StatusNoContent
	err := p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		rec, ok, err := arm.Get(tx, r.ID.String())
		if err != nil || !ok {
			return err
		}
		identity, err := identityAt(tx, r.Scope)
		if err != nil {
			return err
		}
		status = http.StatusOK
		if err := p.deps.Directory.RemoveFederatedCredential(tx, principalOf(identity).AppID, strings.ToLower(r.Name)); err != nil {
			return err
		}
		return arm.Delete(tx, rec.ID)
	})
	if err != nil {
		return err
	}
	w.WriteHeader(status)
	return nil
}

// dropFederated removes the records of an identity that goes; the directory
// drops the credentials with the principal.
func dropFederated(tx store.Tx, identity string) error {
	recs, err := arm.List(tx, identity, federatedType)
	if err != nil {
		return err
	}
	for _, rec := range recs {
		if err := arm.Delete(tx, rec.ID); err != nil {
			return err
		}
	}
	return nil
}
