package machinelearning

import (
	"net/http"
	"strings"
	"time"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/store"
)

func (p *Provider) listDeployments(w http.ResponseWriter, r *arm.Request) error {
	return p.listResources(w, r)
}

func (p *Provider) putDeployment(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	if err := checkName("deployment", r.Name); err != nil {
		return err
	}
	if err := checkShape(doc, deploymentObjects, deploymentTexts); err != nil {
		return err
	}
	if err := p.finishDeployment(doc); err != nil {
		return err
	}
	return p.changeDeployment(w, r, func(tx store.Tx, endpoint, old *arm.Record) (*arm.Record, error) {
		if err := fit(tx, endpoint, r.Name, doc); err != nil {
			return nil, err
		}
		if old == nil {
			if err := p.roomForDeployment(tx, endpoint); err != nil {
				return nil, err
			}
			return &arm.Record{ID: r.ID.String(), Type: deploymentType, Document: doc, Secret: arm.Document{}}, nil
		}
		if before, after := old.Document.String("properties", "instanceType"), doc.String("properties", "instanceType"); !strings.EqualFold(before, after) {
			return nil, errInvalid("The instance type of a deployment cannot be changed from %s to %s; create another deployment.", before, after)
		}
		old.Document = doc
		return old, nil
	})
}

// patchDeployment takes tags and sku, as the published model says.
func (p *Provider) patchDeployment(w http.ResponseWriter, r *arm.Request) error {
	patch, err := r.Document()
	if err != nil {
		return err
	}
	if err := checkShape(patch, deploymentObjects, deploymentTexts); err != nil {
		return err
	}
	return p.changeDeployment(w, r, func(tx store.Tx, endpoint, old *arm.Record) (*arm.Record, error) {
		if old == nil {
			return nil, arm.NotFound(r.ID)
		}
		doc := old.Document
		if tags := patch.Object("tags"); tags != nil {
			doc.Set(map[string]any(doc.Object("tags").Merge(tags)), "tags")
		}
		if sku := patch.Object("sku"); sku != nil {
			doc.Set(map[string]any(doc.Object("sku").Merge(sku)), "sku")
		}
		if err := p.finishDeployment(doc); err != nil {
			return nil, err
		}
		return old, fit(tx, endpoint, r.Name, doc)
	})
}

// changeDeployment commits a deployment's wish together with its operation.
func (p *Provider) changeDeployment(w http.ResponseWriter, r *arm.Request, make func(tx store.Tx, endpoint, old *arm.Record) (*arm.Record, error)) error {
	parent, _ := r.ID.Parent()
	return p.commit(w, r, change{kind: "deployment", job: jobDeploy, poll: true,
		make: func(tx store.Tx, old *arm.Record) (*arm.Record, error) {
			endpoint, err := p.readyEndpoint(tx, parent)
			if err != nil {
				return nil, err
			}
			if r.Method == http.MethodPut {
				if err := mayDeploy(r, endpoint); err != nil {
					return nil, err
				}
			}
			if old != nil && old.Document.String("properties", "provisioningState") == stateFailed && activeOf(old) == nil {
				return nil, errUnrecoverable(old.Name())
			}
			rec, err := make(tx, endpoint, old)
			if err == nil {
				rec.Document.Default(endpoint.Document.String("location"), "location")
			}
			return rec, err
		},
		committed: func(tx store.Tx, _ *arm.Record) error { return p.refreshRoute(tx, parent.String()) },
	})
}

func (p *Provider) readyEndpoint(tx store.ReadTx, id azure.ResourceID) (*arm.Record, error) {
	if _, err := workspaceOf(tx, id); err != nil {
		return nil, err
	}
	rec, err := must(tx, id)
	if err != nil {
		return nil, err
	}
	switch rec.Document.String("properties", "provisioningState") {
	case stateSucceeded:
		return rec, nil
	case stateFailed:
		return nil, errEndpointNotReady(rec.Name())
	}
	return nil, errBusy("endpoint", rec.Name())
}

// reserved are the variables of the platform; letting a deployment set them
// would let it pose as something it is not.
var reserved = []string{"MSI_ENDPOINT", "MSI_SECRET", "IDENTITY_ENDPOINT", "IDENTITY_HEADER"}

// finishDeployment checks a body and fills in what the service defaults.
func (p *Provider) finishDeployment(doc arm.Document) error {
	for _, readOnly := range []string{"id", "name", "type", "systemData", "etag"} {
		delete(doc, readOnly)
	}
	kind, ok := oneOf(doc.String("properties", "endpointComputeType"), "Managed", "Kubernetes")
	switch {
	case doc.String("properties", "endpointComputeType") == "":
		kind = "Managed"
	case !ok:
		return errInvalid("endpointComputeType must be Managed or Kubernetes.")
	}
	doc.Set(kind, "properties", "endpointComputeType")
	doc.Default("Default", "sku", "name")
	capacity := doc.Object("sku")["capacity"]
	if capacity == nil {
		capacity = "1"
	}
	n, ok := number(capacity)
	if !ok || n < 1 || n > p.deps.Limits.Instances {
		return errInvalid("sku.capacity must be a whole number of instances from 1 to %d.", p.deps.Limits.Instances)
	}
	doc.Set(n, "sku", "capacity")
	longest := p.deps.Limits.RequestTimeout
	if kind == "Kubernetes" {
		longest = p.deps.Limits.KubernetesRequestTimeout
		if err := p.finishScale(doc); err != nil {
			return err
		}
	} else {
		doc.Default("Standard_F4s_v2", "properties", "instanceType")
		doc.Default(map[string]any{"scaleType": "Default"}, "properties", "scaleSettings")
		if t := doc.String("properties", "scaleSettings", "scaleType"); !strings.EqualFold(t, "Default") {
			return errInvalid("Managed online deployments support the scale type Default only, not '%s'.", t)
		}
		doc.Default("Enabled", "properties", "egressPublicNetworkAccess")
	}
	textValues(doc, "tags")
	textValues(doc, "properties", "properties")
	textValues(doc, "properties", "environmentVariables")
	for name, value := range doc.Object("properties", "environmentVariables") {
		if _, taken := oneOf(name, reserved...); taken {
			return errInvalid("The environment variable '%s' is reserved for the platform.", name)
		}
		if _, isString := value.(string); !isString && value != nil {
			return errInvalid("The value of the environment variable '%s' must be a string.", name)
		}
	}
	if err := checkSettings(doc, longest); err != nil {
		return err
	}
	doc.Default(map[string]any{}, "tags")
	doc.Default(map[string]any{}, "properties", "properties")
	doc.Default(map[string]any{}, "properties", "environmentVariables")
	doc.Default(false, "properties", "appInsightsEnabled")
	for _, probe := range []string{"livenessProbe", "readinessProbe"} {
		for member, value := range map[string]any{"failureThreshold": 30, "successThreshold": 1, "timeout": "PT2S", "period": "PT10S", "initialDelay": "PT10S"} {
			doc.Default(value, "properties", probe, member)
		}
	}
	doc.Default("PT5S", "properties", "requestSettings", "requestTimeout")
	doc.Default(1, "properties", "requestSettings", "maxConcurrentRequestsPerInstance")
	doc.Default("PT0.5S", "properties", "requestSettings", "maxQueueWait")
	return nil
}

// checkSettings refuses durations and counts that mean nothing.
func checkSettings(doc arm.Document, longest time.Duration) error {
	for _, path := range [][]string{
		{"requestSettings", "requestTimeout"}, {"requestSettings", "maxQueueWait"},
		{"livenessProbe", "timeout"}, {"livenessProbe", "period"}, {"livenessProbe", "initialDelay"},
		{"readinessProbe", "timeout"}, {"readinessProbe", "period"}, {"readinessProbe", "initialDelay"},
	} {
		v, ok := doc.Get(append([]string{"properties"}, path...)...)
		if !ok || v == nil {
			continue
		}
		text, _ := v.(string)
		d, ok := duration(text)
		if !ok {
			return errInvalid("%s is not an ISO 8601 duration: '%v'.", strings.Join(path, "."), v)
		}
		if path[1] == "requestTimeout" && d > longest {
			return errInvalid("requestSettings.requestTimeout is %s; the most a deployment of this kind can have is %d seconds.", text, int(longest.Seconds()))
		}
	}
	if v, ok := doc.Get("properties", "requestSettings", "maxConcurrentRequestsPerInstance"); ok && v != nil {
		if n, ok := number(v); !ok || n < 1 {
			return errInvalid("requestSettings.maxConcurrentRequestsPerInstance must be at least 1.")
		}
	}
	return nil
}

// instanceCount is how many instances run. Those of Kubernetes deployments
// that scale by use are as many as at the least: nothing scales here.
func instanceCount(doc arm.Document) int {
	if strings.EqualFold(doc.String("properties", "scaleSettings", "scaleType"), scaleByUse) {
		if n, ok := number(doc.Object("properties", "scaleSettings")["minInstances"]); ok && n > 0 {
			return n
		}
	}
	if n, ok := number(doc.Object("sku")["capacity"]); ok && n > 0 {
		return n
	}
	return 1
}

// activeOf is the document of the revision that serves, which differs from
// the deployment's own after a failed update; nil before the first success.
func activeOf(rec *arm.Record) arm.Document { return rec.Secret.Object("active") }

func (p *Provider) beginDeleteDeployment(w http.ResponseWriter, r *arm.Request) error {
	return p.commitDeletion(w, r, deletion{kind: "deployment", job: jobDeleteDeployment, check: func(tx store.Tx, rec *arm.Record) error {
		parent, _ := r.ID.Parent()
		endpoint, err := must(tx, parent)
		if err != nil {
			return err
		}
		for _, member := range []string{"traffic", "mirrorTraffic"} {
			for name, raw := range endpoint.Document.Object("properties", member) {
				if n, _ := number(raw); n > 0 && strings.EqualFold(name, rec.Name()) {
					return errInvalid("The deployment '%s' still receives %d %% of the endpoint's %s. Move the traffic to another deployment before deleting it.", rec.Name(), n, member)
				}
			}
		}
		return nil
	}, committed: func(tx store.Tx, _ *arm.Record) error { // no new request chooses it
		parent, _ := r.ID.Parent()
		return p.refreshRoute(tx, parent.String())
	}})
}

// Log tails: the default and the most a call answers.
const (
	defaultTail = 5000
	maxTail     = 10000
)

func (p *Provider) getLogs(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.OptionalDocument()
	if err != nil {
		return err
	}
	rec, err := p.view(r.Context(), r.ID)
	if err != nil {
		return err
	}
	kind := runner.InferenceServer
	if c := doc.String("containerType"); c != "" {
		switch name, _ := oneOf(strings.ReplaceAll(c, "-", ""), "InferenceServer", "StorageInitializer"); name {
		case "InferenceServer":
		case "StorageInitializer":
			kind = runner.StorageInitializer
		default:
			return errInvalid("containerType must be InferenceServer or StorageInitializer, not '%s'.", c)
		}
	}
	tail := defaultTail
	if v, ok := doc["tail"]; ok && v != nil {
		n, ok := number(v)
		if !ok || n < 1 {
			return errInvalid("tail must be a positive number of lines.")
		}
		tail = min(n, maxTail)
	}
	content := p.deps.Deployer.Logs(r.ID.Key(), kind, tail)
	if content == "" {
		content = "The container '" + string(kind) + "' of the deployment '" + rec.Name() + "' has not written anything yet. Please try again later.\n"
	}
	return arm.Reply(w, http.StatusOK, arm.Document{"content": content})
}
