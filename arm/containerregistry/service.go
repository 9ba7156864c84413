package containerregistry

import (
	"errors"
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

const (
	namespace    = "Microsoft.ContainerRegistry"
	registryType = namespace + "/registries"
)

// Assignments forgets the roles assigned at or below a resource.
type Assignments interface {
	RemoveUnder(tx store.Tx, scope string) error
}

// Deps is what the provider needs.
type Deps struct {
	Documents   store.Documents
	Clock       clock.Clock
	Assignments Assignments
}

// Provider is Microsoft.ContainerRegistry.
type Provider struct{ deps Deps }

// New makes the provider.
func New(deps Deps) (*Provider, error) {
	if deps.Documents == nil || deps.Clock == nil || deps.Assignments == nil {
		return nil, errors.New("containerregistry: a dependency is missing")
	}
	return &Provider{deps}, nil
}

// Types are the provider's resource types.
func (p *Provider) Types() []arm.Type {
	registries := &arm.Tracked{
		Type: registryType, Name: "containerregistry", Documents: p.deps.Documents, Clock: p.deps.Clock, Check: check, Fill: p.fill,
		Remove: func(tx store.Tx, rec *arm.Record) error { return p.deps.Assignments.RemoveUnder(tx, rec.ID) },
	}
	return []arm.Type{
		{Name: registryType, Rows: registries.Rows()},
		{Name: namespace + "/checkNameAvailability", Rows: []arm.Row{{
			Operation: httpx.Operation{Name: "containerregistry.CheckNameAvailability", Method: http.MethodPost},
			On:        arm.Collection, Serve: p.checkName,
		}}},
	}
}

// validName is the rule of the REST reference: 5 to 50 letters and digits.
func validName(name string) bool {
	for _, c := range name {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return len(name) >= 5 && len(name) <= 50
}

func check(name string, doc arm.Document) error {
	if !validName(name) {
		return errName(name)
	}
	if admin, _ := doc.Get("properties", "adminUserEnabled"); admin == true {
		return errAdminUser()
	}
	return nil
}

// fill sets what a registry has besides what was asked for. Its name is one in
// the whole world.
func (p *Provider) fill(tx store.Tx, rec *arm.Record) error {
	taken, err := p.holder(tx, rec.Name())
	if err != nil {
		return err
	}
	if taken != "" && !strings.EqualFold(taken, rec.ID) {
		return errTaken(rec.Name())
	}
	rec.Document.Default(map[string]any{"name": "Basic", "tier": "Basic"}, "sku")
	if sku := rec.Document.Object("sku"); sku["tier"] == nil {
		rec.Document.Set(sku.String("name"), "sku", "tier")
	}
	rec.Document.Set(strings.ToLower(rec.Name())+".azurecr.io", "properties", "loginServer")
	rec.Document.Set(rec.CreatedAt.UTC().Format("2006-01-02T15:04:05.0000000Z"), "properties", "creationDate")
	rec.Document.Default(false, "properties", "adminUserEnabled")
	rec.Document.Default("Enabled", "properties", "publicNetworkAccess")
	rec.Document.Default(false, "properties", "anonymousPullEnabled")
	return nil
}

// holder is the id of the registry of a name; "" if there is none.
func (p *Provider) holder(tx store.ReadTx, name string) (string, error) {
	for rec, err := range arm.Under(tx, "/", registryType) {
		if err != nil {
			return "", err
		}
		if strings.EqualFold(rec.Name(), name) {
			return rec.ID, nil
		}
	}
	return "", nil
}

func (p *Provider) checkName(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	name := doc.String("name")
	answer := arm.Document{"nameAvailable": true}
	var holder string
	err = p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		holder, err = p.holder(tx, name)
		return err
	})
	switch {
	case err != nil:
		return err
	case !validName(name):
		answer = arm.Document{"nameAvailable": false, "reason": "Invalid", "message": errName(name).Message}
	case holder != "":
		answer = arm.Document{"nameAvailable": false, "reason": "AlreadyExists", "message": errTaken(name).Message}
	}
	return arm.Reply(w, http.StatusOK, answer)
}

func errName(name string) *httpx.Error {
	return arm.BadRequest("InvalidResourceName", "The registry name '%s' is not valid: it must have 5 to 50 characters and hold letters and numbers only.", name)
}

func errTaken(name string) *httpx.Error {
	return arm.Conflict("AlreadyInUse", "The registry DNS name %s.azurecr.io is already in use.", strings.ToLower(name))
}

func errAdminUser() *httpx.Error {
	return arm.BadRequest("FeatureNotSupported", "The admin user of a registry is not emulated by amlocal: use roles.")
}
