package scenarios

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"
)

// endpointFile is an online endpoint in the schema of `az ml`.
type endpointFile struct {
	Schema       string            `yaml:"$schema"`
	Name         string            `yaml:"name"`
	Description  *string           `yaml:"description"`
	AuthMode     string            `yaml:"auth_mode"`
	Identity     *identityFile     `yaml:"identity"`
	PublicAccess string            `yaml:"public_network_access"`
	Tags         map[string]string `yaml:"tags"`
	Properties   map[string]string `yaml:"properties"`
	Traffic      map[string]int32  `yaml:"traffic"`
	Mirror       map[string]int32  `yaml:"mirror_traffic"`

	Answered answered `yaml:",inline"`
	// Location is the workspace's, whatever a file says; the client sends that.
	Location   string `yaml:"location"`
	ScoringURI string `yaml:"scoring_uri"`
	OpenAPIURI string `yaml:"openapi_uri"`
	Compute    string `yaml:"compute"`

	path string
}

// answered are fields of the schema that only answers fill, as in a file that
// `az ml ... show` wrote. The client takes them and sends none.
type answered struct {
	ID    string `yaml:"id"`
	State string `yaml:"provisioning_state"`
}

type identityFile struct {
	Type         string         `yaml:"type"`
	UserAssigned userAssignedID `yaml:"user_assigned_identities"`
	PrincipalID  string         `yaml:"principal_id"`
	TenantID     string         `yaml:"tenant_id"`
}

// deploymentFile is a managed online deployment in the schema of `az ml`. Its
// paths are relative to the file.
type deploymentFile struct {
	Schema      string   `yaml:"$schema"`
	Name        string   `yaml:"name"`
	Endpoint    string   `yaml:"endpoint_name"`
	Type        string   `yaml:"type"`
	Description *string  `yaml:"description"`
	Model       modelRef `yaml:"model"`
	MountPath   *string  `yaml:"model_mount_path"`
	Code        *struct {
		Path   string `yaml:"code"`
		Script string `yaml:"scoring_script"`
	} `yaml:"code_configuration"`
	Environment   environmentRef    `yaml:"environment"`
	InstanceType  string            `yaml:"instance_type"`
	InstanceCount int32             `yaml:"instance_count"`
	Variables     map[string]string `yaml:"environment_variables"`
	Tags          map[string]string `yaml:"tags"`
	Properties    map[string]string `yaml:"properties"`
	AppInsights   bool              `yaml:"app_insights_enabled"`
	Egress        string            `yaml:"egress_public_network_access"`
	Scale         *scaleFile        `yaml:"scale_settings"`
	Requests      *requestsFile     `yaml:"request_settings"`
	Liveness      *probeFile        `yaml:"liveness_probe"`
	Readiness     *probeFile        `yaml:"readiness_probe"`

	Answered answered `yaml:",inline"`
	// Parts of the schema that are known and not carried.
	Collector any `yaml:"data_collector"`
	Private   any `yaml:"private_network_connection"`
	Resources any `yaml:"resources"`

	dir, path string
}

type scaleFile struct {
	Type    string `yaml:"type"`
	Polling int64  `yaml:"polling_interval"`
	Target  *int32 `yaml:"target_utilization_percentage"`
	Min     *int32 `yaml:"min_instances"`
	Max     *int32 `yaml:"max_instances"`
}

type requestsFile struct {
	Timeout    int64  `yaml:"request_timeout_ms"`
	Concurrent *int32 `yaml:"max_concurrent_requests_per_instance"`
	QueueWait  int64  `yaml:"max_queue_wait_ms"`
}

type probeFile struct {
	Period           int64  `yaml:"period"`
	InitialDelay     int64  `yaml:"initial_delay"`
	Timeout          int64  `yaml:"timeout"`
	SuccessThreshold *int32 `yaml:"success_threshold"`
	FailureThreshold *int32 `yaml:"failure_threshold"`
}

type routeFile struct {
	Port int32  `yaml:"port"`
	Path string `yaml:"path"`
}

// check refuses what the schema has and this client does not send.
func (e *endpointFile) check() error {
	if e.Compute != "" {
		return fmt.Errorf("compute: only managed endpoints are emulated")
	}
	return nil
}

// check is endpointFile.check for deployments.
func (d *deploymentFile) check() error {
	switch d.Type {
	case "", "managed":
	default:
		return fmt.Errorf("type %q: only managed deployments are emulated", d.Type)
	}
	for field, value := range map[string]any{"data_collector": d.Collector, "private_network_connection": d.Private, "resources": d.Resources} {
		if value != nil {
			return fmt.Errorf("%s: not carried by up -f", field)
		}
	}
	if s := d.Scale; s != nil && s.Type != "default" && s.Type != "target_utilization" {
		return fmt.Errorf("scale_settings.type %q: the types are default and target_utilization", s.Type)
	}
	if env := &d.Environment; env.Ref == "" {
		switch {
		case env.Image == "" && env.Build == nil:
			return fmt.Errorf("environment: neither an image, a build context nor a reference azureml:NAME:VERSION")
		case env.Image != "" && env.Build != nil:
			return fmt.Errorf("environment: image and build exclude each other")
		}
	}
	return nil
}

// at resolves a path of the definition.
func (d *deploymentFile) at(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(d.dir, filepath.FromSlash(path))
}

// loadEndpoint reads a definition and applies overrides as --set does.
func loadEndpoint(path string, overrides ...string) (*endpointFile, error) {
	e := new(endpointFile)
	if err := load(path, e, overrides); err != nil {
		return nil, err
	}
	if err := e.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return e, nil
}

// loadDeployment is loadEndpoint for deployments.
func loadDeployment(path string, overrides ...string) (*deploymentFile, error) {
	d := &deploymentFile{dir: filepath.Dir(path)}
	if err := load(path, d, overrides); err != nil {
		return nil, err
	}
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

func load(path string, into any, overrides []string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var doc map[string]any
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return fmt.Errorf("%s: %s", path, yaml.FormatError(err, false, true))
	}
	if doc == nil {
		return fmt.Errorf("%s is empty", path)
	}
	if len(overrides) == 0 { // as it is written, so that a mistake is named with its line
		return decode(path, raw, into)
	}
	for _, o := range overrides {
		if err := override(doc, o); err != nil {
			return fmt.Errorf("%s: --set %s: %w", path, o, err)
		}
	}
	if raw, err = yaml.Marshal(doc); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return decode(path, raw, into)
}

func decode(path string, raw []byte, into any) error {
	if err := yaml.UnmarshalWithOptions(raw, into, yaml.Strict()); err != nil {
		return fmt.Errorf("%s: %s", path, yaml.FormatError(err, false, true))
	}
	return nil
}
