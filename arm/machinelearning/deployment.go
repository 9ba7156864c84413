package machinelearning

import (
	"net/http"
	"strconv"
	"strings"

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
	if err := finishDeployment(doc); err != nil {
		return err
	}
	return p.changeDeployment(w, r, func(old *arm.Record) (*arm.Record, error) {
		if old == nil {
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
	return p.changeDeployment(w, r, func(old *arm.Record) (*arm.Record, error) {
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
		if err := finishDeployment(doc); err != nil {
			return nil, err
		}
		return old, nil
	})
}

// changeDeployment commits a deployment's wish together with its operation.
func (p *Provider) changeDeployment(w http.ResponseWriter, r *arm.Request, change func(old *arm.Record) (*arm.Record, error)) error {
	status := http.StatusOK
	var rec *arm.Record
	var jobID string
	err := p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		endpoint, err := p.readyEndpoint(tx, r.ID)
		if err != nil {
			return err
		}
		if r.Method == http.MethodPut {
			if err := mayDeploy(r, endpoint); err != nil {
				return err
			}
		}
		old, exists, err := arm.Get(tx, r.ID.String())
		if err != nil {
			return err
		}
		state := stateUpdating
		if !exists {
			old, state, status = nil, stateCreating, http.StatusCreated
			if names, err := deploymentNames(tx, endpoint.ID); err != nil || len(names) >= maxDeployments {
				if err == nil {
					err = errInvalid("The endpoint '%s' already has %d deployments, the most it can have.", endpoint.Name(), len(names))
				}
				return err
			}
		} else if err := deploymentIdle(old); err != nil {
			return err
		}
		if rec, err = change(old); err != nil {
			return err
		}
		rec.Document.Default(endpoint.Document.String("location"), "location")
		rec.Document.Set(state, "properties", "provisioningState")
		p.stamp(rec, r.Author())
		if jobID, err = p.deps.Operations.Begin(tx, jobDeploy, r.ID, nil); err != nil {
			return err
		}
		statusURL, _ := arm.PollURLs(r, jobID)
		rec.Document.Set(statusURL, "properties", "properties", "AzureAsyncOperationUri")
		if err := arm.Put(tx, rec); err != nil {
			return err
		}
		return p.refreshRoute(tx, endpoint.ID)
	})
	if err != nil {
		return err
	}
	p.deps.Operations.PollHeaders(w.Header(), r, jobID)
	return arm.Reply(w, status, body(rec))
}

func (p *Provider) readyEndpoint(tx store.ReadTx, deployment azure.ResourceID) (*arm.Record, error) {
	id, _ := deployment.Parent()
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

func deploymentIdle(rec *arm.Record) error {
	switch rec.Document.String("properties", "provisioningState") {
	case stateCreating, stateUpdating, stateDeleting:
		return errBusy("deployment", rec.Name())
	case stateFailed:
		if activeOf(rec) == nil {
			return errUnrecoverable(rec.Name())
		}
	}
	return nil
}

// reserved are the variables of the platform; letting a deployment set them
// would let it pose as something it is not.
var reserved = []string{"MSI_ENDPOINT", "MSI_SECRET", "IDENTITY_ENDPOINT", "IDENTITY_HEADER"}

// finishDeployment checks a body and fills in what the service defaults.
func finishDeployment(doc arm.Document) error {
	for _, readOnly := range []string{"id", "name", "type", "systemData", "etag"} {
		delete(doc, readOnly)
	}
	kind, ok := oneOf(doc.String("properties", "endpointComputeType"), "Managed", "Kubernetes")
	switch {
	case doc.String("properties", "endpointComputeType") == "":
		kind = "Managed"
	case !ok:
		return errInvalid("endpointComputeType must be Managed or Kubernetes.")
	case kind == "Kubernetes":
		return errInvalid("Kubernetes online deployments are not emulated yet.")
	}
	doc.Set(kind, "properties", "endpointComputeType")
	doc.Default("Standard_F4s_v2", "properties", "instanceType")
	doc.Default("Default", "sku", "name")
	capacity := doc.Object("sku")["capacity"]
	if capacity == nil {
		capacity = "1"
	}
	n, ok := number(capacity)
	if !ok || n < 1 || n > 50 {
		return errInvalid("sku.capacity must be a whole number of instances from 1 to 50.")
	}
	doc.Set(n, "sku", "capacity")
	doc.Default(map[string]any{"scaleType": "Default"}, "properties", "scaleSettings")
	if t := doc.String("properties", "scaleSettings", "scaleType"); !strings.EqualFold(t, "Default") {
		return errInvalid("Managed online deployments support the scale type Default only, not '%s'.", t)
	}
	for name, value := range doc.Object("properties", "environmentVariables") {
		if _, taken := oneOf(name, reserved...); taken {
			return errInvalid("The environment variable '%s' is reserved for the platform.", name)
		}
		if _, isString := value.(string); !isString && value != nil {
			return errInvalid("The value of the environment variable '%s' must be a string.", name)
		}
	}
	if err := checkSettings(doc); err != nil {
		return err
	}
	doc.Default(map[string]any{}, "tags")
	doc.Default(map[string]any{}, "properties", "properties")
	doc.Default(map[string]any{}, "properties", "environmentVariables")
	doc.Default("Enabled", "properties", "egressPublicNetworkAccess")
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
func checkSettings(doc arm.Document) error {
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
		if path[1] == "requestTimeout" && d.Milliseconds() > 180_000 {
			return errInvalid("requestSettings.requestTimeout is %s; the most a managed deployment can have is 180 seconds.", text)
		}
	}
	if v, ok := doc.Get("properties", "requestSettings", "maxConcurrentRequestsPerInstance"); ok && v != nil {
		if n, ok := number(v); !ok || n < 1 {
			return errInvalid("requestSettings.maxConcurrentRequestsPerInstance must be at least 1.")
		}
	}
	return nil
}

func instanceCount(doc arm.Document) int {
	if n, ok := number(doc.Object("sku")["capacity"]); ok && n > 0 {
		return n
	}
	return 1
}

// activeOf is the document of the revision that serves, which differs from
// the deployment's own after a failed update; nil before the first success.
func activeOf(rec *arm.Record) arm.Document { return rec.Secret.Object("active") }

func (p *Provider) beginDeleteDeployment(w http.ResponseWriter, r *arm.Request) error {
	jobID := ""
	err := p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		rec, exists, err := arm.Get(tx, r.ID.String())
		if err != nil || !exists {
			return err
		}
		if rec.Document.String("properties", "provisioningState") == stateDeleting {
			return errBusy("deployment", rec.Name())
		}
		parent, _ := r.ID.Parent()
		endpoint, err := must(tx, parent)
		if err != nil {
			return err
		}
		for _, member := range []string{"traffic", "mirrorTraffic"} {
			for name, raw := range endpoint.Document.Object("properties", member) {
				if n, _ := number(raw); n > 0 && strings.EqualFold(name, rec.Name()) {
					return errInvalid("The deployment '%s' still receives %s %% of the endpoint's %s. Move the traffic to another deployment before deleting it.", rec.Name(), strconv.Itoa(n), member)
				}
			}
		}
		rec.Document.Set(stateDeleting, "properties", "provisioningState")
		p.stamp(rec, r.Author())
		if err := arm.Put(tx, rec); err != nil {
			return err
		}
		if jobID, err = p.deps.Operations.Begin(tx, jobDeleteDeployment, r.ID, nil); err != nil {
			return err
		}
		return p.refreshRoute(tx, endpoint.ID) // no new request chooses it
	})
	if err != nil {
		return err
	}
	if jobID == "" {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	p.deps.Operations.PollHeaders(w.Header(), r, jobID)
	w.WriteHeader(http.StatusAccepted)
	return nil
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
