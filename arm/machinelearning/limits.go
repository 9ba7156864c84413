package machinelearning

import (
	"strings"
	"time"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// Limits are a subscription's, as the page on quotas publishes them. A zero
// field is the published value.
type Limits struct {
	// Endpoints and Deployments count per subscription and region, all kinds
	// together.
	Endpoints, Deployments int
	DeploymentsPerEndpoint int
	// Instances is the most one deployment can have.
	Instances int
	// RequestTimeout is the longest a deployment may ask for.
	RequestTimeout, KubernetesRequestTimeout time.Duration
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		field *int
		value int
	}{{&l.Endpoints, 100}, {&l.Deployments, 500}, {&l.DeploymentsPerEndpoint, 20}, {&l.Instances, 50}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if l.RequestTimeout <= 0 {
		l.RequestTimeout = 180 * time.Second
	}
	if l.KubernetesRequestTimeout <= 0 {
		l.KubernetesRequestTimeout = 300 * time.Second
	}
	return l
}

// codeAssignmentLimit is how the authorization provider refuses one role
// assignment too many.
const codeAssignmentLimit = "RoleAssignmentLimitExceeded"

// errOutOfQuota: the code is documented for all these limits, the text is ours.
func errOutOfQuota(format string, args ...any) *httpx.Error {
	return deploymentError("OutOfQuota", "error-outofquota", format, args...)
}

// roomForEndpoint refuses an endpoint above the limit of its subscription and
// region.
func (p *Provider) roomForEndpoint(tx store.ReadTx, id azure.ResourceID, location string) error {
	n, err := countIn(tx, id.SubscriptionID(), location, endpointType)
	if err == nil && n >= p.deps.Limits.Endpoints {
		err = errOutOfQuota("The subscription has %d online endpoints in %s, the most it can have.", n, regionOf(location))
	}
	return err
}

// roomForDeployment refuses a deployment above the limit of its endpoint, or of
// its subscription and region.
func (p *Provider) roomForDeployment(tx store.ReadTx, endpoint *arm.Record) error {
	siblings, err := arm.List(tx, endpoint.ID, deploymentType)
	if err != nil {
		return err
	}
	if n := len(siblings); n >= p.deps.Limits.DeploymentsPerEndpoint {
		return errOutOfQuota("The endpoint '%s' has %d deployments, the most it can have.", endpoint.Name(), n)
	}
	location := endpoint.Document.String("location")
	n, err := countIn(tx, endpoint.ResourceID().SubscriptionID(), location, deploymentType)
	if err == nil && n >= p.deps.Limits.Deployments {
		err = errOutOfQuota("The subscription has %d online deployments in %s, the most it can have.", n, regionOf(location))
	}
	return err
}

func countIn(tx store.ReadTx, subscription, location, resourceType string) (n int, err error) {
	for rec, err := range arm.Under(tx, "/subscriptions/"+strings.ToLower(subscription), resourceType) {
		if err != nil {
			return 0, err
		}
		if regionOf(rec.Document.String("location")) == regionOf(location) {
			n++
		}
	}
	return n, nil
}
