package resources

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/store"
)

// stepsBucket keeps what a deployment did: by its lower-cased id, a list.
const stepsBucket = "resources.deploymentOperations"

// step is one operation of a deployment: a resource that was put.
type step struct {
	OperationID string       `json:"operationId"`
	ID          string       `json:"id"`
	Type        string       `json:"type"`
	Name        string       `json:"name"`
	Began       time.Time    `json:"began"`
	Ended       time.Time    `json:"ended"`
	State       string       `json:"state"`
	Problem     *arm.Problem `json:"problem,omitempty"`
}

func stepsKey(id string) []byte { return []byte(strings.ToLower(id)) }

func putSteps(tx store.Tx, id string, steps []step) error {
	raw, err := json.Marshal(steps)
	if err != nil {
		return fmt.Errorf("deployment: %w", err)
	}
	return tx.Put(stepsBucket, stepsKey(id), raw)
}

// body is a step as deployment operations are served.
func (s step) body(deployment string) arm.Document {
	props := map[string]any{
		"provisioningOperation": "Create", "provisioningState": s.State, "timestamp": stamp(s.Ended), "duration": duration(s.Ended.Sub(s.Began)),
		"trackingId": s.OperationID, "serviceRequestId": s.OperationID, "statusCode": "OK",
		"targetResource": map[string]any{"id": s.ID, "resourceType": s.Type, "resourceName": s.Name},
	}
	if s.Problem != nil {
		props["statusCode"] = "Conflict"
		props["statusMessage"] = map[string]any{"error": s.Problem}
	}
	return arm.Document{"id": deployment + "/operations/" + s.OperationID, "operationId": s.OperationID, "properties": props}
}

// listSteps serves a deployment's operations, under its id and under the old
// path without a provider, which azure-ai-ml asks.
func (p *Provider) listSteps(w http.ResponseWriter, r *arm.Request) error {
	id := r.Scope
	if group, name, old := strings.Cut(id, "/deployments/"); old && !strings.Contains(group, "/providers/") {
		id = group + "/providers/" + deploymentType + "/" + name
	}
	var steps []step
	err := p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		if _, ok, err := arm.Get(tx, id); err != nil || !ok {
			if err == nil {
				err = errDeploymentNotFound(id[strings.LastIndexByte(id, '/')+1:])
			}
			return err
		}
		raw, ok := tx.Get(stepsBucket, stepsKey(id))
		if !ok {
			return nil
		}
		return json.Unmarshal(raw, &steps)
	})
	if err != nil {
		return err
	}
	var items []arm.Document
	for _, s := range steps {
		items = append(items, s.body(id))
	}
	return arm.ReplyList(w, items)
}
