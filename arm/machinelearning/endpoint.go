package machinelearning

import (
	"maps"
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// Provisioning states of endpoints and deployments.
const (
	stateCreating  = "Creating"
	stateUpdating  = "Updating"
	stateDeleting  = "Deleting"
	stateSucceeded = "Succeeded"
	stateFailed    = "Failed"
)

func (p *Provider) putEndpoint(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	if err := checkName("endpoint", r.Name); err != nil {
		return err
	}
	if err := checkShape(doc, endpointObjects, endpointTexts); err != nil {
		return err
	}
	wish, err := readIdentity(doc)
	if err != nil {
		return err
	}
	return p.changeEndpoint(w, r, func(tx store.Tx, ws, old *arm.Record) (*arm.Record, error) {
		if old == nil {
			return p.newEndpoint(tx, r, ws, doc, wish)
		}
		return p.replaceEndpoint(tx, old, doc, wish)
	})
}

// patchEndpoint takes tags, and an identity that changes nothing.
func (p *Provider) patchEndpoint(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	if err := checkShape(doc, endpointObjects, endpointTexts); err != nil {
		return err
	}
	wish, err := readIdentity(doc)
	if err != nil {
		return err
	}
	return p.changeEndpoint(w, r, func(_ store.Tx, _, old *arm.Record) (*arm.Record, error) {
		if old == nil {
			return nil, arm.NotFound(r.ID)
		}
		if err := sameIdentity(doc, wish, old); err != nil {
			return nil, err
		}
		if tags := doc.Object("tags"); tags != nil {
			old.Document.Set(map[string]any(old.Document.Object("tags").Merge(tags)), "tags")
		}
		return old, nil
	})
}

// changeEndpoint commits one change of an endpoint.
func (p *Provider) changeEndpoint(w http.ResponseWriter, r *arm.Request, make func(tx store.Tx, ws, old *arm.Record) (*arm.Record, error)) error {
	return p.commit(w, r, change{kind: "endpoint", job: jobEndpoint, poll: true,
		make: func(tx store.Tx, old *arm.Record) (*arm.Record, error) {
			ws, err := workspaceOf(tx, r.ID)
			if err != nil {
				return nil, err
			}
			return make(tx, ws, old)
		},
		committed: func(tx store.Tx, rec *arm.Record) error { return p.refreshRoute(tx, rec.ID) },
	})
}

func (p *Provider) newEndpoint(tx store.Tx, r *arm.Request, ws *arm.Record, doc arm.Document, wish identityWish) (*arm.Record, error) {
	doc.Default(ws.Document.String("location"), "location")
	router := ""
	if doc.String("properties", "compute") != "" {
		var err error
		if router, err = p.newOnCluster(tx, r.ID, ws, doc); err != nil {
			return nil, err
		}
	} else if err := nameFree(tx, r.ID, doc.String("location")); err != nil {
		return nil, err
	}
	if err := p.roomForEndpoint(tx, r.ID, doc.String("location")); err != nil {
		return nil, err
	}
	if err := mayAssign(r, wish); err != nil {
		return nil, err
	}
	enforced, err := checkSecretStores(r, ws, doc, wish)
	if err != nil {
		return nil, err
	}
	if len(doc.Object("properties", "traffic")) > 0 {
		if traffic, err := readTraffic(doc, "traffic", nil); err != nil || len(traffic) > 0 {
			return nil, err
		}
	}
	rec := &arm.Record{ID: r.ID.String(), Type: endpointType, Document: doc, Secret: arm.Document{}}
	if err := p.newKeys(rec, doc); err != nil {
		return nil, err
	}
	if err := p.finishEndpoint(doc); err != nil {
		return nil, err
	}
	if router != "" {
		rec.Secret["router"] = router
	}
	identity, err := p.createIdentity(tx, r.ID, ws, wish, r.Caller().ObjectID, enforced)
	if err != nil {
		return nil, err
	}
	doc.Set(identity, "identity")
	doc.Set(map[string]any{}, "properties", "traffic")
	doc.Set(map[string]any{}, "properties", "mirrorTraffic")
	base := addressOf(rec)
	doc.Set(base+"/score", "properties", "scoringUri")
	doc.Set(base+"/swagger.json", "properties", "swaggerUri")
	doc.Default(map[string]any{}, "tags")
	doc.Set(r.ID.Key(), "properties", "properties", "azureml.onlineendpointid")
	return rec, nil
}

// finishEndpoint checks and completes what a body may set at any time, and
// takes out what only the service may.
func (p *Provider) finishEndpoint(doc arm.Document) error {
	for _, readOnly := range []string{"id", "name", "type", "systemData", "etag"} {
		delete(doc, readOnly)
	}
	textValues(doc, "tags")
	textValues(doc, "properties", "properties")
	doc.Default("Key", "properties", "authMode")
	mode, ok := oneOf(strings.ReplaceAll(doc.String("properties", "authMode"), "_", ""), "Key", "AMLToken", "AADToken")
	if !ok {
		return errInvalid("The auth mode '%s' is invalid; use Key, AMLToken or AADToken.", doc.String("properties", "authMode"))
	}
	doc.Set(mode, "properties", "authMode")
	doc.Default(map[string]any{}, "properties", "properties")
	doc.Delete("properties", "keys")
	if doc.String("properties", "compute") != "" {
		return p.finishOnCluster(doc)
	}
	doc.Default("Enabled", "properties", "publicNetworkAccess")
	if _, ok := oneOf(doc.String("properties", "publicNetworkAccess"), "Enabled", "Disabled"); !ok {
		return errInvalid("publicNetworkAccess must be Enabled or Disabled.")
	}
	doc["kind"] = "Managed"
	return nil
}

// nameFree enforces that a managed endpoint's name is unique within a region.
func nameFree(tx store.ReadTx, id azure.ResourceID, location string) error {
	for rec, err := range arm.Under(tx, "/", endpointType) {
		if err != nil {
			return err
		}
		if !onCluster(rec) && strings.EqualFold(rec.Name(), id.Name()) && regionOf(rec.Document.String("location")) == regionOf(location) {
			return errNameTaken()
		}
	}
	return nil
}

// replaceEndpoint is a full PUT of an existing endpoint: what the body leaves
// out of the free properties is gone, identity and addresses stay.
func (p *Provider) replaceEndpoint(tx store.Tx, old *arm.Record, doc arm.Document, wish identityWish) (*arm.Record, error) {
	if old.Document.String("properties", "provisioningState") == stateFailed {
		return nil, errEndpointNotReady(old.Name())
	}
	if have, want := old.Document.String("location"), doc.String("location"); want != "" && regionOf(want) != regionOf(have) {
		return nil, arm.LocationConflict(old.ResourceID(), have, want)
	}
	if err := sameIdentity(doc, wish, old); err != nil {
		return nil, err
	}
	if err := keepsSecretStores(doc, old.Document); err != nil {
		return nil, err
	}
	if err := sameCompute(tx, doc, old); err != nil {
		return nil, err
	}
	if err := p.finishEndpoint(doc); err != nil {
		return nil, err
	}
	names, err := deploymentNames(tx, old.ID)
	if err != nil {
		return nil, err
	}
	live, err := readTraffic(doc, "traffic", names)
	if err != nil {
		return nil, err
	}
	mirror, err := readTraffic(doc, "mirrorTraffic", names)
	if err != nil {
		return nil, err
	}
	if err := checkTraffic(live, mirror); err != nil {
		return nil, err
	}
	doc.Set(toDocument(live), "properties", "traffic")
	doc.Set(toDocument(mirror), "properties", "mirrorTraffic")
	kept := maps.Clone(old.Document.Object("properties", "properties")) // may be added to, not removed
	doc.Set(map[string]any(kept.Merge(doc.Object("properties", "properties"))), "properties", "properties")
	doc.Set(old.Document["identity"], "identity")
	doc.Set(old.Document["location"], "location")
	for _, fixed := range []string{"scoringUri", "swaggerUri"} {
		doc.Set(old.Document.String("properties", fixed), "properties", fixed)
	}
	doc.Default(map[string]any{}, "tags")
	old.Document = doc
	return old, nil
}

// sameIdentity refuses a change; a body without identity asks for none.
func sameIdentity(doc arm.Document, wish identityWish, old *arm.Record) error {
	if doc.Object("identity") == nil {
		return nil
	}
	have, err := readIdentity(old.Document)
	if err != nil {
		return err
	}
	if !wish.same(have) {
		return errIdentityFixed()
	}
	return nil
}

func endpointHost(name, location string) string {
	return strings.ToLower(name) + "." + regionOf(location) + ".inference.ml.azure.com"
}

// regionOf is a location's short name: "East US" is eastus.
func regionOf(location string) string {
	return strings.ToLower(strings.ReplaceAll(location, " ", ""))
}

func (p *Provider) beginDeleteEndpoint(w http.ResponseWriter, r *arm.Request) error {
	return p.commitDeletion(w, r, deletion{kind: "endpoint", job: jobDeleteEndpoint,
		check:     func(_ store.Tx, rec *arm.Record) error { return idle("endpoint", rec) },
		committed: func(tx store.Tx, rec *arm.Record) error { return p.refreshRoute(tx, rec.ID) },
	})
}
