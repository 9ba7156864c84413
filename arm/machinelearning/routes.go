package machinelearning

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/store"
)

// Route is an endpoint as the scoring front sees it. It is never changed once
// published; a change publishes another.
type Route struct {
	ID, Name, Host, AuthMode string
	// Kubernetes says that Host is a cluster's router, which leads to its
	// endpoints by their names.
	Kubernetes bool
	// Private says that public network access is disabled.
	Private     bool
	Keys        [2]string
	Traffic     map[string]int
	Mirror      map[string]int
	Deployments []DeploymentRoute

	tokenKey string
}

// DeploymentRoute is one deployment of a Route.
type DeploymentRoute struct {
	// ID is the deployment's key at the Deployer.
	ID, Name       string
	RequestTimeout time.Duration
	MaxConcurrent  int
	Instances      int
	// Script says that the inference server runs a scoring script.
	Script bool
}

// routes is the in-memory index the scoring path reads without a transaction.
type routes struct {
	mu        sync.RWMutex
	addresses map[string]*Route // host, or host/name behind a router
	byKey     map[string]*Route
}

// address is what tells a route from all others.
func (r *Route) address() string {
	if r.Kubernetes {
		return routerAddress(r.Host, r.Name)
	}
	return strings.ToLower(r.Host)
}

func routerAddress(host, name string) string { return strings.ToLower(host + "/" + name) }

func (rs *routes) byID(key string) *Route {
	rs.mu.RLock()
	defer rs.mu.RUnlock()
	return rs.byKey[key]
}

func (rs *routes) at(address string) (*Route, bool) {
	rs.mu.RLock()
	defer rs.mu.RUnlock()
	r, ok := rs.addresses[address]
	return r, ok
}

// RouteFor finds the managed endpoint behind a scoring host name.
func (p *Provider) RouteFor(host string) (*Route, bool) { return p.routes.at(strings.ToLower(host)) }

// RouteBehind finds an endpoint behind a cluster's router.
func (p *Provider) RouteBehind(router, name string) (*Route, bool) {
	return p.routes.at(routerAddress(router, name))
}

func (rs *routes) publish(key string, route *Route) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if old := rs.byKey[key]; old != nil {
		delete(rs.addresses, old.address())
		delete(rs.byKey, key)
	}
	if route != nil {
		rs.addresses[route.address()], rs.byKey[key] = route, route
	}
}

func (p *Provider) loadRoutes(ctx context.Context) error {
	p.routes.addresses, p.routes.byKey = map[string]*Route{}, map[string]*Route{}
	return p.deps.Documents.View(ctx, func(tx store.ReadTx) error {
		for rec, err := range arm.Under(tx, "/", endpointType) {
			if err != nil {
				return err
			}
			route, err := p.route(tx, rec)
			if err != nil {
				return err
			}
			p.routes.publish(rec.ResourceID().Key(), route)
		}
		return nil
	})
}

// refreshRoute republishes an endpoint once the running transaction commits.
func (p *Provider) refreshRoute(tx store.Tx, endpointID string) error {
	key := strings.ToLower(endpointID)
	rec, ok, err := arm.Get(tx, endpointID)
	if err != nil {
		return err
	}
	var route *Route
	if ok && rec.Document.String("properties", "provisioningState") != stateDeleting {
		if route, err = p.route(tx, rec); err != nil {
			return err
		}
	}
	tx.OnCommit(func() { p.routes.publish(key, route) })
	return nil
}

func (p *Provider) route(tx store.ReadTx, rec *arm.Record) (*Route, error) {
	doc := rec.Document
	route := &Route{
		ID: rec.ID, Name: rec.Name(), Host: hostOf(rec), Kubernetes: onCluster(rec),
		Private: strings.EqualFold(doc.String("properties", "publicNetworkAccess"), "Disabled"), AuthMode: doc.String("properties", "authMode"),
		Keys:     [2]string{rec.Secret.String("primaryKey"), rec.Secret.String("secondaryKey")},
		tokenKey: rec.Secret.String("tokenKey"),
		Traffic:  map[string]int{}, Mirror: map[string]int{},
	}
	for name, raw := range doc.Object("properties", "traffic") {
		route.Traffic[name], _ = number(raw)
	}
	for name, raw := range doc.Object("properties", "mirrorTraffic") {
		route.Mirror[name], _ = number(raw)
	}
	for dep, err := range arm.Under(tx, rec.ID, deploymentType) {
		if err != nil {
			return nil, err
		}
		if dep.Document.String("properties", "provisioningState") == stateDeleting {
			continue
		}
		active := activeOf(dep) // a failed update leaves the old settings in force
		if active == nil {
			active = dep.Document
		}
		route.Deployments = append(route.Deployments, deploymentRoute(dep, active))
	}
	return route, nil
}

func deploymentRoute(rec *arm.Record, doc arm.Document) DeploymentRoute {
	out := DeploymentRoute{
		ID: rec.ResourceID().Key(), Name: rec.Name(), RequestTimeout: 5 * time.Second, MaxConcurrent: 1,
		Instances: instanceCount(doc), Script: doc.String("properties", "codeConfiguration", "scoringScript") != "",
	}
	if d, ok := duration(doc.String("properties", "requestSettings", "requestTimeout")); ok {
		out.RequestTimeout = d
	}
	if v, ok := doc.Get("properties", "requestSettings", "maxConcurrentRequestsPerInstance"); ok {
		if n, ok := number(v); ok && n > 0 {
			out.MaxConcurrent = n
		}
	}
	return out
}
