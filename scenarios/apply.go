package scenarios

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/goccy/go-yaml"

	"github.com/amlocal/amlocal"
)

// Definitions are endpoint and deployment files in the schema of `az ml`, read
// and checked as far as a file can be without a service.
type Definitions struct {
	endpoints   []*endpointFile
	deployments []*deploymentFile
	paths       []string
}

// LoadDefinitions reads files of either kind, told by `$schema` or else by the
// fields only one of them has. An error names file and line.
func LoadDefinitions(paths []string) (*Definitions, error) {
	d := &Definitions{paths: paths}
	for _, path := range paths {
		kind, err := kindOf(path)
		if err != nil {
			return nil, err
		}
		if kind == "endpoint" {
			e, err := loadEndpoint(path)
			if err == nil && e.Name == "" {
				err = fmt.Errorf("%s: name is missing", path)
			}
			if err != nil {
				return nil, err
			}
			e.path = path
			d.endpoints = append(d.endpoints, e)
			continue
		}
		f, err := loadDeployment(path)
		if err == nil && f.Name == "" {
			err = fmt.Errorf("%s: name is missing", path)
		}
		if err != nil {
			return nil, err
		}
		f.path = path
		d.deployments = append(d.deployments, f)
	}
	for _, f := range d.deployments {
		if f.Endpoint != "" {
			continue
		}
		if len(d.endpoints) != 1 {
			return nil, fmt.Errorf("deployment %s: endpoint_name is missing, and the files do not hold exactly one endpoint", f.Name)
		}
		f.Endpoint = d.endpoints[0].Name
	}
	return d, nil
}

func kindOf(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var doc map[string]any
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return "", fmt.Errorf("%s: %s", path, yaml.FormatError(err, false, true))
	}
	schema, _ := doc["$schema"].(string)
	switch {
	case strings.Contains(schema, "managedOnlineEndpoint."):
		return "endpoint", nil
	case strings.Contains(schema, "managedOnlineDeployment."):
		return "deployment", nil
	case schema != "":
		return "", fmt.Errorf("%s: $schema %s is neither of a managed online endpoint nor of a managed online deployment", path, schema)
	}
	for field, kind := range map[string]string{
		"auth_mode": "endpoint", "identity": "endpoint", "traffic": "endpoint",
		"endpoint_name": "deployment", "environment": "deployment", "instance_type": "deployment", "code_configuration": "deployment",
	} {
		if _, ok := doc[field]; ok {
			return kind, nil
		}
	}
	return "", fmt.Errorf("%s: neither an online endpoint nor an online deployment: give it a $schema", path)
}

// Target is where and how definitions are deployed.
type Target struct {
	Access amlocal.Access
	Out    io.Writer
	// Flags follow the commands that are proposed, e.g. " --state DIR".
	Flags string
}

// Apply is Deploy without flags.
func Apply(ctx context.Context, access amlocal.Access, d *Definitions, w io.Writer) error {
	return Deploy(ctx, Target{Access: access, Out: w}, d)
}

// Deploy makes the emulator serve what the files define: endpoints are created
// or updated, deployments put, and an endpoint's first deployment gets all of
// its traffic, unless the endpoint's file says otherwise.
func Deploy(ctx context.Context, to Target, d *Definitions) error {
	a, err := newApplier(to)
	if err != nil {
		return err
	}
	defer a.http.CloseIdleConnections()
	return a.apply(ctx, d, func(string) bool { return true })
}

// applier deploys definitions.
type applier struct {
	*cloud
	out   *report
	flags string
}

func newApplier(to Target) (*applier, error) {
	c, err := connect(to.Access)
	if err != nil {
		return nil, err
	}
	a := &applier{cloud: c, out: newReport(to.Out), flags: to.Flags}
	c.uploaded = func(f *folder) { a.out.line("uploaded %s, %d files", f.name, len(f.files)) }
	return a, nil
}

// apply deploys the definitions of the files that changed.
func (a *applier) apply(ctx context.Context, d *Definitions, changed func(path string) bool) error {
	for _, e := range d.endpoints {
		if changed(e.path) {
			if err := a.applyEndpoint(ctx, e); err != nil {
				return err
			}
		}
	}
	for _, f := range d.deployments {
		if changed(f.path) {
			if err := a.applyDeployment(ctx, f); err != nil {
				return err
			}
		}
	}
	for _, e := range d.endpoints {
		if !changed(e.path) || e.Traffic == nil && e.Mirror == nil {
			continue
		}
		if err := a.out.step("set the traffic of "+e.Name, func() error { return a.setTraffic(ctx, e) }); err != nil {
			return plain(err)
		}
	}
	return nil
}

// applyEndpoint leaves the traffic for when the deployments are there.
func (a *applier) applyEndpoint(ctx context.Context, e *endpointFile) error {
	body, err := e.wire()
	if err != nil {
		return err
	}
	got, err := a.endpoints.Get(ctx, group, workspace, e.Name, nil)
	switch {
	case notFound(err):
		return plain(a.out.step("create endpoint "+e.Name, func() error {
			_, err := a.createEndpoint(ctx, e)
			return err
		}))
	case err != nil:
		return plain(err)
	case !e.overlay(&got.OnlineEndpoint, body):
		return nil
	}
	return plain(a.out.step("update endpoint "+e.Name, func() error { return a.putEndpoint(ctx, e.Name, got.OnlineEndpoint) }))
}

// overlay puts what the file says over an endpoint, and says whether anything
// differs. What the file leaves out stays as it is.
func (e *endpointFile) overlay(onto *ml.OnlineEndpoint, body ml.OnlineEndpoint) (differs bool) {
	have, want := onto.Properties, body.Properties
	same := func(a, b *string) bool { return a != nil && b != nil && *a == *b }
	if e.Tags != nil && !maps.EqualFunc(body.Tags, onto.Tags, same) {
		onto.Tags, differs = body.Tags, true
	}
	if e.Description != nil && !same(e.Description, have.Description) {
		have.Description, differs = e.Description, true
	}
	for name, value := range want.Properties { // beside those of the service
		if !same(value, have.Properties[name]) {
			if have.Properties == nil {
				have.Properties = map[string]*string{}
			}
			have.Properties[name], differs = value, true
		}
	}
	if e.AuthMode != "" && (have.AuthMode == nil || *have.AuthMode != *want.AuthMode) {
		have.AuthMode, differs = want.AuthMode, true
	}
	if e.PublicAccess != "" && (have.PublicNetworkAccess == nil || !strings.EqualFold(string(*have.PublicNetworkAccess), e.PublicAccess)) {
		have.PublicNetworkAccess, differs = want.PublicNetworkAccess, true
	}
	if e.Identity != nil && !sameIdentity(onto.Identity, body.Identity) {
		onto.Identity, differs = body.Identity, true // the service says whether it may change
	}
	return differs
}

func sameIdentity(a, b *ml.ManagedServiceIdentity) bool {
	if a == nil || a.Type == nil || *a.Type != *b.Type || len(a.UserAssignedIdentities) != len(b.UserAssignedIdentities) {
		return false
	}
	for id := range b.UserAssignedIdentities {
		found := false
		for other := range a.UserAssignedIdentities {
			found = found || strings.EqualFold(id, other)
		}
		if !found {
			return false
		}
	}
	return true
}

// unrecoverable is what a PUT meets where the first provisioning failed:
// nothing ever served there.
const unrecoverable = "failed during initial provisioning"

func (a *applier) applyDeployment(ctx context.Context, f *deploymentFile) error {
	full, out := f.Endpoint+"/"+f.Name, a.out
	before, err := a.provisioningState(ctx, f.Endpoint, f.Name)
	if err != nil {
		return plain(err)
	}
	verb := "update"
	if before == "" {
		verb = "create"
	}
	put := func() error {
		_, err := a.deploy(ctx, f.Endpoint, f)
		return err
	}
	serves := before != ""
	err = out.step(verb+" deployment "+full, put)
	if err != nil && before == ml.DeploymentProvisioningStateFailed && strings.Contains(err.Error(), unrecoverable) {
		serves = false
		err = out.step("delete "+full+", whose first provisioning failed", func() error { return a.deleteDeployment(ctx, f.Endpoint, f.Name) })
		if err == nil {
			err = out.step("create deployment "+full+" again", put)
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if log, logErr := a.logs(ctx, f.Endpoint, f.Name, ""); logErr == nil && strings.TrimSpace(log) != "" {
			out.line("The end of its log (amlocal logs%s %s):", a.flags, full)
			out.line("%s", lastLines(log, 20))
		}
		if serves {
			out.line("%s answers as before the change.", full)
		}
		return plain(err)
	}
	got, err := a.endpoints.Get(ctx, group, workspace, f.Endpoint, nil)
	if err != nil {
		return plain(err)
	}
	if len(got.Properties.Traffic) == 0 {
		if err := out.step("send all traffic to "+f.Name+", the endpoint's first", func() error { return a.allTraffic(ctx, f.Endpoint, f.Name) }); err != nil {
			return plain(err)
		}
	}
	out.line("%s is served at %s", full, *got.Properties.ScoringURI)
	out.line("  log:    amlocal logs%s -f %s", a.flags, full)
	out.line("  score:  az ml online-endpoint invoke -g %s -w %s -n %s --deployment-name %s --request-file request.json", group, workspace, f.Endpoint, f.Name)
	return nil
}

// setTraffic sends the shares a file names, and leaves those it does not.
func (c *cloud) setTraffic(ctx context.Context, e *endpointFile) error {
	got, err := c.endpoints.Get(ctx, group, workspace, e.Name, nil)
	if err != nil {
		return err
	}
	if e.Traffic != nil {
		got.Properties.Traffic = shares(e.Traffic)
	}
	if e.Mirror != nil {
		got.Properties.MirrorTraffic = shares(e.Mirror)
	}
	return c.putEndpoint(ctx, e.Name, got.OnlineEndpoint)
}

// shares are percentages as the client sends them: names in lower case, no
// zeros.
func shares(of map[string]int32) map[string]*int32 {
	out := map[string]*int32{}
	for name, percent := range of {
		if percent != 0 {
			out[strings.ToLower(name)] = &percent
		}
	}
	return out
}

// putEndpoint sends an endpoint back and waits for it.
func (c *cloud) putEndpoint(ctx context.Context, name string, body ml.OnlineEndpoint) error {
	poller, err := c.endpoints.BeginCreateOrUpdate(ctx, group, workspace, name, body, nil)
	if err != nil {
		return err
	}
	_, err = poller.PollUntilDone(ctx, poll())
	return err
}

// plain is a service's error as a person reads it: code and message.
func plain(err error) error {
	if err == nil {
		return nil
	}
	if code, message := serviceError(err); code != "" {
		return fmt.Errorf("%s: %s", code, message)
	}
	return err
}
