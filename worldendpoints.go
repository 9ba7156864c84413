package amlocal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/amlocal/amlocal/azure"
)

// worldEndpoint is an online endpoint of the seeded workspace. It has no
// deployments, and therefore no traffic to spread.
type worldEndpoint struct {
	Name     string `yaml:"name"`
	AuthMode string `yaml:"auth_mode"` // key, aml_token or aad_token; empty is key
	// Identity is "system", or a list of user-assigned identities: names of
	// this file or resource ids. Empty is system.
	Identity any               `yaml:"identity"`
	Tags     map[string]string `yaml:"tags"`
}

// endpointPrefix marks an endpoint where a file names who or what a role is
// about: as a principal its own identity, as a scope itself.
const endpointPrefix = "endpoint:"

func endpointsID(name string) string { return seedWorkspace + "/onlineEndpoints/" + name }

// identities are the user-assigned ones; none means the system's. ok is false
// for what is neither.
func (e worldEndpoint) identities() (names []string, ok bool) {
	switch wish := e.Identity.(type) {
	case nil:
		return nil, true
	case string:
		return nil, wish == "system" || wish == ""
	case []any:
		for _, one := range wish {
			name, isText := one.(string)
			if !isText || name == "" {
				return nil, false
			}
			names = append(names, name)
		}
		return names, len(names) > 0
	}
	return nil, false
}

// body is the endpoint as a request puts it. ids are the resource ids of what
// the file made before.
func (e worldEndpoint) body(ids map[string]string) (map[string]any, error) {
	identity := map[string]any{"type": "SystemAssigned"}
	names, _ := e.identities()
	if len(names) > 0 {
		users := map[string]any{}
		for _, name := range names {
			id := or(ids["identity:"+name], name)
			if !strings.HasPrefix(id, "/") {
				return nil, fmt.Errorf("there is no identity %q in the file", name)
			}
			users[id] = map[string]any{}
		}
		identity = map[string]any{"type": "UserAssigned", "userAssignedIdentities": users}
	}
	body := map[string]any{
		"location": azure.SeedLocation, "identity": identity,
		"properties": map[string]any{"authMode": or(e.AuthMode, "key")},
	}
	if e.Tags != nil {
		body["tags"] = e.Tags
	}
	return body, nil
}

// applyEndpoints makes the endpoints and waits for each, and notes their ids
// and the object ids of the identities that are their own.
func (e *Emulator) applyEndpoints(ctx context.Context, c *ownerClient, w *world, ids, principals map[string]string) error {
	for n, endpoint := range w.Endpoints {
		body, err := endpoint.body(ids)
		if err == nil {
			err = e.applyEndpoint(ctx, c, endpoint.Name, body, principals)
		}
		if err != nil {
			return worldError(w.raw, []mistake{{fmt.Sprintf("$.endpoints[%d]", n), fmt.Sprintf("endpoint %s: %v", endpoint.Name, err)}})
		}
		ids[endpointPrefix+endpoint.Name] = endpointsID(endpoint.Name)
	}
	return nil
}

func (e *Emulator) applyEndpoint(ctx context.Context, c *ownerClient, name string, body map[string]any, principals map[string]string) error {
	var made struct {
		Identity   struct{ PrincipalID string }
		Properties struct{ ProvisioningState string }
	}
	if err := c.put(ctx, endpointsID(name), body, &made); err != nil {
		return err
	}
	id, err := azure.ParseResourceID(endpointsID(name))
	if err != nil {
		return err
	}
	if job, running := e.operations.Running(id); running {
		if _, _, err := e.operations.Wait(ctx, job.ID, time.Minute); err != nil {
			return err
		}
	}
	if err := c.get(ctx, endpointsID(name), &made); err != nil {
		return err
	}
	if state := made.Properties.ProvisioningState; state != "Succeeded" {
		return errors.New("its provisioning state is " + state)
	}
	if made.Identity.PrincipalID != "" {
		principals[endpointPrefix+name] = made.Identity.PrincipalID
	}
	return nil
}
