package resources

import (
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/arm/resources/template"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

const (
	deploymentType = namespace + "/deployments"
	// deployKind names the operation that puts a template's resources.
	deployKind = "resources.Deploy"
)

// wish is what a deployment asks for.
type wish struct {
	Template   map[string]any  `json:"template"`
	Parameters map[string]any  `json:"parameters"`
	Place      template.Place  `json:"place"`
	Caller     azure.Principal `json:"caller"`
	Location   string          `json:"location,omitempty"`
}

// read makes the template ready; it can be called again after a restart.
func (w *wish) read() (*template.Template, error) {
	w.Place.NewGUID = uuid.NewString
	return template.New(w.Template, w.Parameters, w.Place)
}

// readWish reads a deployment's body and looks up the place it is for.
func (p *Provider) readWish(r *arm.Request) (*wish, error) {
	doc, err := r.Document()
	if err != nil {
		return nil, err
	}
	props := doc.Object("properties")
	switch mode := props.String("mode"); {
	case strings.EqualFold(mode, "Complete"):
		return nil, errMode()
	case mode != "" && !strings.EqualFold(mode, "Incremental"):
		return nil, errInvalidMode(mode)
	case props["templateLink"] != nil || props["parametersLink"] != nil:
		return nil, errLink()
	}
	w := &wish{
		Template: props.Object("template"), Parameters: props.Object("parameters"), Caller: r.Caller(),
		Location: arm.CanonicalLocation(doc.String("location")),
		Place:    template.Place{Name: r.Name, Tenant: p.deps.TenantID, Now: p.deps.Clock.Now()},
	}
	if w.Template == nil {
		return nil, errNoTemplate()
	}
	segs := strings.Split(strings.Trim(r.Scope, "/"), "/")
	if len(segs) != 2 && len(segs) != 4 || !strings.EqualFold(segs[0], "subscriptions") {
		return nil, errDeploymentScope(r.Scope)
	}
	err = p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		sub, ok, err := arm.Get(tx, "/subscriptions/"+segs[1])
		if err != nil || !ok {
			return err
		}
		w.Place.Subscription = map[string]any{"id": sub.ID, "subscriptionId": sub.Document["subscriptionId"], "tenantId": p.deps.TenantID, "displayName": sub.Document["displayName"]}
		if len(segs) == 2 {
			return nil
		}
		group, ok, err := arm.Get(tx, r.Scope)
		if err == nil && !ok {
			err = errGroupNotFound(segs[3])
		}
		if err == nil {
			w.Place.Group = group.Body()
		}
		return err
	})
	if err == nil && w.Place.Group == nil && w.Location == "" {
		err = arm.LocationRequired()
	}
	return w, err
}

// plan is a wish whose template can be deployed by its caller.
type plan struct {
	template  *template.Template
	resources []*template.Resource
}

// plan checks the template and, as Azure does before anything is made, that the
// caller may write each of its resources.
func (p *Provider) plan(r *arm.Request, w *wish) (*plan, error) {
	t, err := w.read()
	if err != nil {
		return nil, errTemplate(err)
	}
	all, err := t.Resources()
	if err != nil {
		return nil, errTemplate(err)
	}
	var refused []string
	for _, res := range all {
		if !res.Wanted {
			continue
		}
		check := azure.Check{Action: writeAction(res.Type), Scope: res.ID}
		if p.shownLater(r, res, &check) {
			continue
		}
		if _, allowed := r.Ask(check); !allowed {
			refused = append(refused, refusalText(res, r.Caller(), check))
		}
	}
	if len(refused) > 0 {
		return nil, errTemplateRefused(refused)
	}
	return &plan{t, all}, nil
}

// writeAction is what putting a resource of a type needs.
func writeAction(kind string) string {
	if strings.EqualFold(kind, groupType) {
		return subscriptionType + "/resourceGroups/write"
	}
	return kind + "/write"
}

func (p *Provider) putDeployment(w http.ResponseWriter, r *arm.Request) error {
	want, err := p.readWish(r)
	if err != nil {
		return err
	}
	made, err := p.plan(r, want)
	if err != nil {
		return err
	}
	// The template is read again by the worker, and once more after a restart.
	want.Parameters = made.template.Settled()
	payload, err := p.sealWish(r.ID.String(), want)
	if err != nil {
		return err
	}
	status := http.StatusCreated
	var rec *arm.Record
	var job string
	err = p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		old, exists, err := arm.Get(tx, r.ID.String())
		if err != nil {
			return err
		}
		if exists {
			status = http.StatusOK
			if _, busy := p.deps.Operations.Running(r.ID); busy {
				return errDeploymentActive(r.Name)
			}
		}
		now := p.deps.Clock.Now()
		rec = &arm.Record{ID: r.ID.String(), Type: deploymentType, CreatedAt: now, ModifiedAt: now, CreatedBy: r.Author(), ModifiedBy: r.Author()}
		if exists {
			rec.CreatedAt, rec.CreatedBy = old.CreatedAt, old.CreatedBy
		}
		rec.Document = shown(made, arm.Document{
			"mode": "Incremental", "provisioningState": "Accepted", "timestamp": stamp(now), "duration": "PT0S", "correlationId": uuid.NewString(),
		})
		if want.Location != "" {
			rec.Document["location"] = want.Location
		}
		if err := arm.Put(tx, rec); err != nil {
			return err
		}
		if err := putSteps(tx, rec.ID, nil); err != nil {
			return err
		}
		job, err = p.deps.Operations.Begin(tx, deployKind, r.ID, payload)
		return err
	})
	if err != nil {
		return err
	}
	p.deps.Operations.PollHeaders(w.Header(), r, job)
	w.Header().Del("Location") // its clients poll the status, and then get the deployment
	return arm.Reply(w, status, rec.Body())
}

// shown is a deployment as it is served: with the values of its parameters and
// the resources it is about, without its template.
func shown(made *plan, props arm.Document) arm.Document {
	props["parameters"] = made.template.Parameters()
	byNamespace := map[string]map[string]bool{}
	for _, res := range made.resources {
		ns, rest, _ := strings.Cut(res.Type, "/")
		if byNamespace[ns] == nil {
			byNamespace[ns] = map[string]bool{}
		}
		byNamespace[ns][rest] = true
	}
	providers := []any{}
	for _, ns := range sortedKeys(byNamespace) {
		types := []any{}
		for _, t := range sortedKeys(byNamespace[ns]) {
			types = append(types, map[string]any{"resourceType": t})
		}
		providers = append(providers, map[string]any{"namespace": ns, "resourceTypes": types})
	}
	props["providers"], props["dependencies"] = providers, []any{}
	return arm.Document{"properties": map[string]any(props)}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }

// validateDeployment says what a deployment would be, or why it would fail.
func (p *Provider) validateDeployment(w http.ResponseWriter, r *arm.Request) error {
	want, err := p.readWish(r)
	if err != nil {
		return err
	}
	made, err := p.plan(r, want)
	if err != nil {
		return err
	}
	validated := []any{}
	for _, res := range made.resources {
		if res.Wanted {
			validated = append(validated, map[string]any{"id": res.ID})
		}
	}
	body := shown(made, arm.Document{
		"mode": "Incremental", "provisioningState": arm.Succeeded, "timestamp": stamp(p.deps.Clock.Now()), "duration": "PT0S",
		"correlationId": uuid.NewString(), "validatedResources": validated,
	})
	body["id"], body["name"], body["type"] = r.ID.String(), r.Name, deploymentType
	return arm.Reply(w, http.StatusOK, body)
}

func (p *Provider) deployment(r *arm.Request) (rec *arm.Record, err error) {
	err = p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		var ok bool
		if rec, ok, err = arm.Get(tx, r.ID.String()); err == nil && !ok {
			err = errDeploymentNotFound(r.Name)
		}
		return err
	})
	return rec, err
}

func (p *Provider) getDeployment(w http.ResponseWriter, r *arm.Request) error {
	rec, err := p.deployment(r)
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, rec.Body())
}

func (p *Provider) checkDeployment(w http.ResponseWriter, r *arm.Request) error {
	if _, err := p.deployment(r); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// deleteDeployment removes the record of a deployment, and none of what it put.
func (p *Provider) deleteDeployment(w http.ResponseWriter, r *arm.Request) error {
	if _, busy := p.deps.Operations.Running(r.ID); busy {
		return errDeploymentRunning(r.Name)
	}
	err := p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		if err := tx.Delete(stepsBucket, stepsKey(r.ID.String())); err != nil {
			return err
		}
		return arm.Delete(tx, r.ID.String())
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// listDeployments lists those of the scope itself, not of the groups in it.
func (p *Provider) listDeployments(w http.ResponseWriter, r *arm.Request) error {
	var items []arm.Document
	err := p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		recs, err := arm.List(tx, r.Scope, deploymentType)
		for _, rec := range recs {
			if strings.EqualFold(strings.TrimSuffix(rec.ID, "/providers/"+deploymentType+"/"+rec.Name()), strings.TrimRight(r.Scope, "/")) {
				items = append(items, rec.Body())
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	return arm.ReplyList(w, items)
}
