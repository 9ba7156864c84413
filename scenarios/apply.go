package scenarios

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
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

// Apply makes the emulator serve what the files define: endpoints are created
// or updated, deployments put, and an endpoint's first deployment gets all of
// its traffic, unless the endpoint's file says otherwise.
func Apply(ctx context.Context, access amlocal.Access, d *Definitions, w io.Writer) error {
	c, err := connect(access)
	if err != nil {
		return err
	}
	defer c.http.CloseIdleConnections()
	out := newReport(w)
	for _, e := range d.endpoints {
		if err := c.applyEndpoint(ctx, e, out); err != nil {
			return err
		}
	}
	for _, f := range d.deployments {
		if err := c.applyDeployment(ctx, f, out); err != nil {
			return err
		}
	}
	for _, e := range d.endpoints {
		if e.Traffic == nil {
			continue
		}
		if err := out.step("set the traffic of "+e.Name, func() error { return c.setTraffic(ctx, e.Name, e.Traffic) }); err != nil {
			return plain(err)
		}
	}
	return nil
}

// applyEndpoint leaves the traffic for when the deployments are there.
func (c *cloud) applyEndpoint(ctx context.Context, e *endpointFile, out *report) error {
	got, err := c.endpoints.Get(ctx, group, workspace, e.Name, nil)
	switch {
	case notFound(err):
		return plain(out.step("create endpoint "+e.Name, func() error {
			_, err := c.createEndpoint(ctx, e)
			return err
		}))
	case err != nil:
		return plain(err)
	case e.Tags == nil || maps.EqualFunc(e.Tags, got.Tags, func(a string, b *string) bool { return b != nil && a == *b }):
		return nil
	}
	return plain(out.step("update endpoint "+e.Name, func() error {
		got.Tags = e.wireTags()
		poller, err := c.endpoints.BeginCreateOrUpdate(ctx, group, workspace, e.Name, got.OnlineEndpoint, nil)
		if err != nil {
			return err
		}
		_, err = poller.PollUntilDone(ctx, poll())
		return err
	}))
}

func (e *endpointFile) wireTags() map[string]*string {
	tags := map[string]*string{}
	for name, value := range e.Tags {
		tags[name] = &value
	}
	return tags
}

// unrecoverable is what a PUT meets where the first provisioning failed:
// nothing ever served there.
const unrecoverable = "failed during initial provisioning"

func (c *cloud) applyDeployment(ctx context.Context, f *deploymentFile, out *report) error {
	full := f.Endpoint + "/" + f.Name
	before, err := c.provisioningState(ctx, f.Endpoint, f.Name)
	if err != nil {
		return plain(err)
	}
	verb := "update"
	if before == "" {
		verb = "create"
	}
	put := func() error {
		_, err := c.deploy(ctx, f.Endpoint, f)
		return err
	}
	err = out.step(verb+" deployment "+full, put)
	if err != nil && before == ml.DeploymentProvisioningStateFailed && strings.Contains(err.Error(), unrecoverable) {
		err = out.step("delete "+full+", whose first provisioning failed", func() error { return c.deleteDeployment(ctx, f.Endpoint, f.Name) })
		if err == nil {
			err = out.step("create deployment "+full+" again", put)
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if log, logErr := c.logs(ctx, f.Endpoint, f.Name, ""); logErr == nil && strings.TrimSpace(log) != "" {
			out.line("The end of its log (amlocal logs %s):", full)
			out.line("%s", lastLines(log, 20))
		}
		return plain(err)
	}
	got, err := c.endpoints.Get(ctx, group, workspace, f.Endpoint, nil)
	if err != nil {
		return plain(err)
	}
	if len(got.Properties.Traffic) == 0 {
		if err := out.step("send all traffic to "+f.Name+", the endpoint's first", func() error { return c.allTraffic(ctx, f.Endpoint, f.Name) }); err != nil {
			return plain(err)
		}
	}
	out.line("%s is served at %s", full, *got.Properties.ScoringURI)
	out.line("  log:    amlocal logs -f %s", full)
	out.line("  score:  az ml online-endpoint invoke -g %s -w %s -n %s --deployment-name %s --request-file request.json", group, workspace, f.Endpoint, f.Name)
	return nil
}

func (c *cloud) setTraffic(ctx context.Context, endpoint string, shares map[string]int32) error {
	got, err := c.endpoints.Get(ctx, group, workspace, endpoint, nil)
	if err != nil {
		return err
	}
	got.Properties.Traffic = map[string]*int32{}
	for name, percent := range shares {
		got.Properties.Traffic[name] = to.Ptr(percent)
	}
	poller, err := c.endpoints.BeginCreateOrUpdate(ctx, group, workspace, endpoint, got.OnlineEndpoint, nil)
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
