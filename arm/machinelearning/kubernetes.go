package machinelearning

import (
	"context"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// AADRefusal says where a Kubernetes endpoint's aad_token is refused. The mode
// is documented not to work there, whatever the role; where it fails is not.
type AADRefusal string

// The settings of `up --kubernetes-aad-token`.
const (
	RefuseAtCreation AADRefusal = "creation"
	RefuseAtScoring  AADRefusal = "scoring"
)

// onCluster reports whether an endpoint is a Kubernetes one: as azure-ai-ml
// decides, by its compute.
func onCluster(endpoint *arm.Record) bool {
	return endpoint.Document.String("properties", "compute") != ""
}

// hostOf is the public host name an endpoint is called at.
func hostOf(endpoint *arm.Record) string {
	if onCluster(endpoint) {
		return endpoint.Secret.String("router")
	}
	return endpointHost(endpoint.Name(), endpoint.Document.String("location"))
}

// addressOf is an endpoint's base address. Of the two paths that are documented
// behind a router this is the one of the troubleshooting page; the gateway
// answers at both.
func addressOf(endpoint *arm.Record) string {
	address := "https://" + hostOf(endpoint)
	if onCluster(endpoint) {
		address += "/api/v1/endpoint/" + strings.ToLower(endpoint.Name())
	}
	return address
}

// RouterExists reports whether a host name is the inference router of a cluster
// that is attached, or has endpoints.
func (p *Provider) RouterExists(ctx context.Context, host string) (found bool) {
	_ = p.deps.Documents.View(ctx, func(tx store.ReadTx) error { // an unreadable store has no routers
		for compute, err := range arm.Under(tx, "/", computeType) {
			if err != nil {
				return err
			}
			cluster, ok, err := arm.Get(tx, compute.Document.String("properties", "resourceId"))
			if found = err == nil && ok && routerOf(cluster) == host; found || err != nil {
				return err
			}
		}
		return nil
	})
	return found || p.routes.hasRouter(host)
}

func (rs *routes) hasRouter(host string) bool {
	rs.mu.RLock()
	defer rs.mu.RUnlock()
	for _, r := range rs.byKey {
		if r.Kubernetes && r.Host == host {
			return true
		}
	}
	return false
}

// newOnCluster checks a new Kubernetes endpoint against its compute and gives
// its router's name.
func (p *Provider) newOnCluster(tx store.ReadTx, id azure.ResourceID, ws *arm.Record, doc arm.Document) (router string, err error) {
	if have, want := ws.Document.String("location"), doc.String("location"); regionOf(have) != regionOf(want) {
		return "", errInvalid("A Kubernetes online endpoint must be in the location of its workspace, %s, not in %s.", have, want)
	}
	computeID, err := computeKey(doc.String("properties", "compute"), id)
	if err != nil {
		return "", err
	}
	compute, cluster, err := attached(tx, computeID)
	if err != nil {
		return "", err
	}
	router = routerOf(cluster)
	if _, taken := p.routes.at(routerAddress(router, id.Name())); taken {
		return "", errEndpointExists()
	}
	// The index learns of an endpoint when it is committed.
	for rec, err := range arm.Under(tx, "/", endpointType) {
		if err != nil {
			return "", err
		}
		if onCluster(rec) && hostOf(rec) == router && strings.EqualFold(rec.Name(), id.Name()) {
			return "", errEndpointExists()
		}
	}
	doc.Set(compute.ID, "properties", "compute")
	return router, nil
}

// finishOnCluster is the Kubernetes half of finishEndpoint.
func (p *Provider) finishOnCluster(doc arm.Document) error {
	if doc.String("properties", "authMode") == "AADToken" && p.deps.KubernetesAAD != RefuseAtScoring {
		return errInvalid("The auth mode AADToken is not supported for Kubernetes online endpoints; use Key or AMLToken.")
	}
	if access := doc.String("properties", "publicNetworkAccess"); access != "" && !strings.EqualFold(access, "Enabled") {
		return errInvalid("publicNetworkAccess is a setting of managed online endpoints; a Kubernetes endpoint's network is its cluster's.")
	}
	doc.Delete("properties", "publicNetworkAccess")
	for name, raw := range doc.Object("properties", "mirrorTraffic") {
		if n, ok := number(raw); !ok || n != 0 {
			return errTraffic("Mirrored traffic is not supported for Kubernetes online endpoints (deployment '%s').", name)
		}
	}
	doc["kind"] = "K8S"
	return nil
}

// sameCompute refuses a move to another compute, or of another kind; a body
// without a compute asks for none.
func sameCompute(tx store.ReadTx, doc arm.Document, old *arm.Record) error {
	have, want := old.Document.String("properties", "compute"), doc.String("properties", "compute")
	if want != "" && !strings.EqualFold(have, want) {
		return errInvalid("The compute of an online endpoint cannot be changed after creation. Delete the endpoint and create it again on the other compute.")
	}
	if have == "" {
		return nil
	}
	doc.Set(have, "properties", "compute")
	id, err := computeKey(have, old.ResourceID())
	if err == nil {
		_, _, err = attached(tx, id)
	}
	return err
}

// fit checks a deployment against the kind of its endpoint, and takes what it
// leaves open from the compute.
func fit(tx store.ReadTx, endpoint *arm.Record, name string, doc arm.Document) error {
	kind := doc.String("properties", "endpointComputeType")
	if cluster := onCluster(endpoint); cluster != (kind == "Kubernetes") {
		want := "Managed"
		if cluster {
			want = "Kubernetes"
		}
		return errInvalid("The endpoint '%s' takes deployments of the endpointComputeType %s, not %s.", endpoint.Name(), want, kind)
	} else if !cluster {
		return nil
	}
	// Published: both names together have 6 to 62 characters.
	if n := len(endpoint.Name()) + len(name); n < 6 || n > 62 {
		return errInvalid("The names of the endpoint '%s' and the deployment '%s' have %d characters together; on Kubernetes they may have 6 to 62.", endpoint.Name(), name, n)
	}
	id, err := computeKey(endpoint.Document.String("properties", "compute"), endpoint.ResourceID())
	if err != nil {
		return err
	}
	compute, _, err := attached(tx, id)
	if err != nil {
		return err
	}
	doc.Default(compute.Document.String("properties", "properties", "defaultInstanceType"), "properties", "instanceType")
	fillResources(doc, instanceTypeOf(compute, doc.String("properties", "instanceType")))
	return nil
}

// scaleByUse is the scale type of Kubernetes deployments that names the least
// and the most instances.
const scaleByUse = "TargetUtilization"

// finishScale checks and completes a Kubernetes deployment's scale settings.
// Where there are none a stated count counts; else the documented default.
func (p *Provider) finishScale(doc arm.Document) error {
	if doc.Object("properties", "scaleSettings") == nil {
		scale := map[string]any{"scaleType": scaleByUse}
		if n, _ := number(doc.Object("sku")["capacity"]); n > 1 {
			scale["scaleType"] = "Default"
		}
		doc.Set(scale, "properties", "scaleSettings")
	}
	scale := doc.Object("properties", "scaleSettings")
	kind, ok := oneOf(scale.String("scaleType"), "Default", scaleByUse)
	if !ok {
		return errInvalid("scaleSettings.scaleType must be Default or TargetUtilization, not '%s'.", scale.String("scaleType"))
	}
	scale["scaleType"] = kind
	if kind == "Default" {
		return nil
	}
	scale.Default(1, "minInstances")
	scale.Default(scale["minInstances"], "maxInstances")
	scale.Default(70, "targetUtilizationPercentage")
	scale.Default("PT1S", "pollingInterval")
	least, okLeast := number(scale["minInstances"])
	most, okMost := number(scale["maxInstances"])
	use, okUse := number(scale["targetUtilizationPercentage"])
	_, okPolling := duration(scale.String("pollingInterval"))
	switch {
	case !okLeast || !okMost || least < 1 || most < least || most > p.deps.Limits.Instances:
		return errSpec("scaleSettings: minInstances and maxInstances must be whole numbers, at least 1 and at most %d, and minInstances not above maxInstances.", p.deps.Limits.Instances)
	case !okUse || use < 1 || use > 100:
		return errSpec("scaleSettings.targetUtilizationPercentage must be a whole percentage from 1 to 100.")
	case !okPolling:
		return errSpec("scaleSettings.pollingInterval is not an ISO 8601 duration.")
	}
	return nil
}
