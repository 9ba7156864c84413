package machinelearning

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"regexp"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// The clusters a compute can stand for.
const (
	managedClusterType   = "Microsoft.ContainerService/managedClusters"
	connectedClusterType = "Microsoft.Kubernetes/connectedClusters"
)

// computePattern is the published rule for names of computes; that the last
// dash is not followed by digits alone is left out.
var computePattern = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]{1,23}$`)

// computeKinds are the published compute types; only Kubernetes is emulated.
var computeKinds = []string{"AKS", "AmlCompute", "ComputeInstance", "DataFactory", "DataLakeAnalytics", "Databricks", "HDInsight", "Kubernetes", "SynapseSpark", "VirtualMachine"}

var (
	computeObjects = []string{"identity", "identity.userAssignedIdentities", "tags", "properties", "properties.properties", "properties.properties.instanceTypes"}
	computeTexts   = []string{"location", "identity.type", "properties.computeType", "properties.resourceId", "properties.properties.namespace", "properties.properties.defaultInstanceType"}
)

// putCompute attaches a Kubernetes cluster, or changes what is known of one
// that is attached.
func (p *Provider) putCompute(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	if !computePattern.MatchString(r.Name) {
		return errInvalid("The compute name '%s' is invalid. It must be between 2 and 24 characters long, begin with a letter, and consist of letters, digits and dashes.", r.Name)
	}
	if err := checkShape(doc, computeObjects, computeTexts); err != nil {
		return err
	}
	cluster, err := clusterOf(doc)
	if err != nil {
		return err
	}
	if err := finishCompute(doc); err != nil {
		return err
	}
	wish, err := readComputeIdentity(doc)
	if err != nil {
		return err
	}
	if err := mayAssign(r, wish); err != nil {
		return err
	}
	// Unverified: that ARM asks the caller for this right on the linked scope.
	if d, ok := r.Ask(azure.Check{Action: cluster.Type() + "/read", Scope: cluster.String()}); !ok {
		return errLinked(d, r.ID)
	}
	return p.commit(w, r, change{kind: "compute", job: jobAttachCompute, make: func(tx store.Tx, old *arm.Record) (*arm.Record, error) {
		ws, err := workspaceOf(tx, r.ID)
		if err != nil {
			return nil, err
		}
		return p.computeRecord(tx, r, ws, old, doc, wish)
	}})
}

func (p *Provider) computeRecord(tx store.Tx, r *arm.Request, ws, old *arm.Record, doc arm.Document, wish identityWish) (*arm.Record, error) {
	doc.Default(ws.Document.String("location"), "location")
	doc.Default(doc.String("location"), "properties", "computeLocation")
	if have, want := ws.Document.String("location"), doc.String("location"); regionOf(have) != regionOf(want) {
		return nil, errInvalid("The compute '%s' must be in the location of its workspace, %s, not in %s.", r.Name, have, want)
	}
	now := p.deps.Clock.Now().UTC().Format("2006-01-02T15:04:05.0000000+00:00")
	doc.Set(now, "properties", "modifiedOn")
	if old == nil {
		identity, _, err := p.makeIdentity(tx, r.ID, ws.Name()+"/computes/"+r.Name, wish)
		if err != nil {
			return nil, err
		}
		if wish.kind != "" {
			doc.Set(identity, "identity")
		} else {
			delete(doc, "identity")
		}
		doc.Set(now, "properties", "createdOn")
		return &arm.Record{ID: r.ID.String(), Type: computeType, Document: doc}, nil
	}
	for _, fixed := range []struct{ what, have, want string }{
		{"cluster", old.Document.String("properties", "resourceId"), doc.String("properties", "resourceId")},
		{"namespace", old.Document.String("properties", "properties", "namespace"), doc.String("properties", "properties", "namespace")},
	} {
		if !strings.EqualFold(fixed.have, fixed.want) {
			return nil, errInvalid("The %s of the compute '%s' cannot be changed from %s to %s; detach the compute and attach it again.", fixed.what, r.Name, fixed.have, fixed.want)
		}
	}
	identity, err := p.replaceComputeIdentity(tx, r, ws, old, wish)
	if err != nil {
		return nil, err
	}
	if delete(doc, "identity"); identity != nil {
		doc.Set(identity, "identity")
	}
	doc.Set(old.Document.String("properties", "createdOn"), "properties", "createdOn")
	old.Document = doc
	return old, nil
}

// replaceComputeIdentity keeps the identity where the wish is the same, and
// else ends the old one.
func (p *Provider) replaceComputeIdentity(tx store.Tx, r *arm.Request, ws, old *arm.Record, wish identityWish) (map[string]any, error) {
	have, err := readComputeIdentity(old.Document)
	if err != nil {
		return nil, err
	}
	if wish.same(have) {
		return old.Document.Object("identity"), nil
	}
	if err := p.endComputeIdentity(tx, old); err != nil {
		return nil, err
	}
	if wish.kind == "" {
		return nil, nil
	}
	identity, _, err := p.makeIdentity(tx, r.ID, ws.Name()+"/computes/"+r.Name, wish)
	return identity, err
}

func (p *Provider) endComputeIdentity(tx store.Tx, rec *arm.Record) error {
	if oid := rec.Document.String("identity", "principalId"); oid != "" {
		return p.deps.Directory.DeletePrincipal(tx, oid)
	}
	return nil
}

// readComputeIdentity is readIdentity for a resource that need not have one.
func readComputeIdentity(doc arm.Document) (identityWish, error) {
	if kind := doc.String("identity", "type"); kind == "" || strings.EqualFold(kind, "None") {
		return identityWish{}, nil
	}
	return readIdentity(doc)
}

// clusterOf is the cluster that a compute's body names.
func clusterOf(doc arm.Document) (azure.ResourceID, error) {
	given := doc.String("properties", "computeType")
	kind, known := oneOf(given, computeKinds...)
	switch {
	case !known:
		return azure.ResourceID{}, errInvalid("The compute type '%s' is invalid; it is one of %s.", given, strings.Join(computeKinds, ", "))
	case kind != "Kubernetes":
		return azure.ResourceID{}, errInvalid("amlocal emulates computes of the type Kubernetes only, not %s.", kind)
	}
	doc.Set(kind, "properties", "computeType")
	raw := doc.String("properties", "resourceId")
	cluster, err := azure.ParseResourceID(raw)
	if err != nil || !strings.EqualFold(cluster.Type(), managedClusterType) && !strings.EqualFold(cluster.Type(), connectedClusterType) {
		return azure.ResourceID{}, errInvalid("properties.resourceId must be the id of a Kubernetes cluster (%s or %s), not '%s'.", managedClusterType, connectedClusterType, raw)
	}
	return cluster, nil
}

// finishCompute completes a body and takes out what only the service may set.
func finishCompute(doc arm.Document) error {
	for _, readOnly := range []string{"id", "name", "type", "systemData", "etag"} {
		delete(doc, readOnly)
	}
	for _, readOnly := range []string{"createdOn", "modifiedOn", "provisioningErrors"} {
		doc.Delete("properties", readOnly)
	}
	doc.Set(true, "properties", "isAttachedCompute")
	doc.Default(false, "properties", "disableLocalAuth")
	doc.Default("default", "properties", "properties", "namespace")
	doc.Default(defaultInstanceType, "properties", "properties", "defaultInstanceType")
	doc.Default(map[string]any{}, "tags")
	return finishInstanceTypes(doc)
}

// listComputeKeys: Kubernetes computes have no keys (unverified text); the ones
// that do are not emulated.
func (p *Provider) listComputeKeys(_ http.ResponseWriter, r *arm.Request) error {
	rec, err := p.view(r.Context(), r.ID)
	if err != nil {
		return err
	}
	return errInvalid("Listing keys is not supported for the compute '%s' of the type %s.", rec.Name(), rec.Document.String("properties", "computeType"))
}

// detachCompute ends the attachment; the cluster, the endpoints and what runs
// there stay. An attached cluster is not the workspace's to delete.
func (p *Provider) detachCompute(w http.ResponseWriter, r *arm.Request) error {
	action, ok := oneOf(r.URL.Query().Get("underlyingResourceAction"), "Delete", "Detach")
	if !ok {
		return errInvalid("The query parameter underlyingResourceAction must be Delete or Detach.")
	}
	return p.commitDeletion(w, r, deletion{kind: "compute", job: jobDetachCompute, check: func(_ store.Tx, rec *arm.Record) error {
		if err := idle("compute", rec); err != nil {
			return err
		}
		if action == "Delete" {
			return errInvalid("The compute '%s' is an attached Kubernetes cluster: it can be detached, not deleted.", rec.Name())
		}
		return nil
	}})
}

// computeKey finds the compute an endpoint's body names: its id, or
// azure-ai-ml's expansion of a name, always in the endpoint's own workspace.
func computeKey(ref string, endpoint azure.ResourceID) (azure.ResourceID, error) {
	id, err := azure.ParseResourceID(ref)
	if err != nil || !strings.EqualFold(id.Type(), computeType) {
		return id, errInvalid("properties.compute must be the id of a compute, not '%s'.", ref)
	}
	have, _ := id.Parent()
	want, _ := endpoint.Parent()
	if have.Key() != want.Key() {
		return id, errComputeNotFound()
	}
	return id, nil
}

// attached is a compute that can take deployments, with its cluster.
func attached(tx store.ReadTx, id azure.ResourceID) (compute, cluster *arm.Record, err error) {
	compute, ok, err := arm.Get(tx, id.String())
	if err != nil {
		return nil, nil, err
	}
	if !ok || compute.Document.String("properties", "provisioningState") == stateDeleting {
		return nil, nil, errComputeNotFound()
	}
	cluster, ok, err = arm.Get(tx, compute.Document.String("properties", "resourceId"))
	if err == nil && !ok {
		err = errClusterNotFound()
	}
	if err == nil && compute.Document.String("properties", "provisioningState") != stateSucceeded {
		err = errComputeInvalid()
	}
	return compute, cluster, err
}

// routerOf is the public name of a cluster's inference router. AKS gives a
// cluster's load balancer such a name where a DNS label is set; the label is
// ours: the cluster's name and a part of its id's hash.
func routerOf(cluster *arm.Record) string {
	name := strings.Trim(strings.Map(func(c rune) rune {
		if c == '_' {
			return '-'
		}
		return c
	}, strings.ToLower(cluster.Name())), "-")
	sum := sha256.Sum256([]byte(cluster.ResourceID().Key()))
	return name[:min(len(name), 50)] + "-" + hex.EncodeToString(sum[:4]) + "." + regionOf(cluster.Document.String("location")) + ".cloudapp.azure.com"
}
