package scenarios

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"
)

// endpointFile is an online endpoint in the schema of `az ml`.
type endpointFile struct {
	Schema   string        `yaml:"$schema"`
	Name     string        `yaml:"name"`
	AuthMode string        `yaml:"auth_mode"`
	Identity *identityFile `yaml:"identity"`

	Tags       map[string]string `yaml:"tags"`
	Properties map[string]string `yaml:"properties"`
	Traffic    map[string]int32  `yaml:"traffic"`
}

type identityFile struct {
	Type         string `yaml:"type"`
	UserAssigned []struct {
		ResourceID string `yaml:"resource_id"`
	} `yaml:"user_assigned_identities"`
}

// deploymentFile is a managed online deployment in the schema of `az ml`. Its
// paths are relative to the file.
type deploymentFile struct {
	Schema   string `yaml:"$schema"`
	Name     string `yaml:"name"`
	Endpoint string `yaml:"endpoint_name"`
	Model    struct {
		Path string `yaml:"path"`
	} `yaml:"model"`
	Code *struct {
		Path   string `yaml:"code"`
		Script string `yaml:"scoring_script"`
	} `yaml:"code_configuration"`
	Environment struct {
		CondaFile string     `yaml:"conda_file"`
		Image     string     `yaml:"image"`
		Build     *buildFile `yaml:"build"`
		Inference *struct {
			Liveness  routeFile `yaml:"liveness_route"`
			Readiness routeFile `yaml:"readiness_route"`
			Scoring   routeFile `yaml:"scoring_route"`
		} `yaml:"inference_config"`
	} `yaml:"environment"`
	InstanceType  string            `yaml:"instance_type"`
	InstanceCount int32             `yaml:"instance_count"`
	Variables     map[string]string `yaml:"environment_variables"`
	Requests      *requestFile      `yaml:"request_settings"`
	Liveness      *probeFile        `yaml:"liveness_probe"`
	Readiness     *probeFile        `yaml:"readiness_probe"`

	dir string
}

type routeFile struct {
	Port int32  `yaml:"port"`
	Path string `yaml:"path"`
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
	return e, nil
}

// loadDeployment is loadEndpoint for deployments.
func loadDeployment(path string, overrides ...string) (*deploymentFile, error) {
	d := &deploymentFile{dir: filepath.Dir(path)}
	if err := load(path, d, overrides); err != nil {
		return nil, err
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
