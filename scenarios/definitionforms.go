package scenarios

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// Fields that a file may write in several forms.

// userAssignedID are the resource ids of user-assigned identities: a list of
// objects with resource_id, as the schema says; a list of ids; or, as in the
// how-to guide, one string with commas.
type userAssignedID []string

// UnmarshalYAML reads any of the forms.
func (u *userAssignedID) UnmarshalYAML(node ast.Node) error {
	split := func(text string) {
		for id := range strings.SplitSeq(text, ",") {
			if id = strings.TrimSpace(id); id != "" {
				*u = append(*u, id)
			}
		}
	}
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		var text string
		if err := strictly(node, &text); err != nil {
			return err
		}
		split(text)
		return nil
	}
	for _, item := range list.Values {
		if !isMapping(item) {
			var text string
			if err := strictly(item, &text); err != nil {
				return err
			}
			split(text)
			continue
		}
		var one struct {
			ResourceID  string `yaml:"resource_id"`
			ClientID    string `yaml:"client_id"`
			ObjectID    string `yaml:"object_id"`
			PrincipalID string `yaml:"principal_id"`
		}
		if err := strictly(item, &one); err != nil {
			return err
		}
		*u = append(*u, one.ResourceID)
	}
	return nil
}

// modelRef is a model that is there already, or one to register.
type modelRef struct {
	Ref string
	modelFile
}

type modelFile struct {
	Name        string            `yaml:"name"`
	Version     version           `yaml:"version"`
	Path        string            `yaml:"path"`
	Type        string            `yaml:"type"`
	Description *string           `yaml:"description"`
	Tags        map[string]string `yaml:"tags"`
	Properties  map[string]string `yaml:"properties"`
	Stage       *string           `yaml:"stage"`
}

// UnmarshalYAML reads a reference or a definition.
func (m *modelRef) UnmarshalYAML(node ast.Node) error {
	if isMapping(node) {
		return strictly(node, &m.modelFile)
	}
	return strictly(node, &m.Ref)
}

// environmentRef is an environment that is there already, or one to register.
type environmentRef struct {
	Ref string
	environmentFile
}

type environmentFile struct {
	Schema      string            `yaml:"$schema"`
	Name        string            `yaml:"name"`
	Version     version           `yaml:"version"`
	Description *string           `yaml:"description"`
	Tags        map[string]string `yaml:"tags"`
	Properties  map[string]string `yaml:"properties"`
	OSType      string            `yaml:"os_type"`
	Image       string            `yaml:"image"`
	CondaFile   condaRef          `yaml:"conda_file"`
	Build       *struct {
		Path       string  `yaml:"path"`
		Dockerfile *string `yaml:"dockerfile_path"`
	} `yaml:"build"`
	Inference *struct {
		Liveness  routeFile `yaml:"liveness_route"`
		Readiness routeFile `yaml:"readiness_route"`
		Scoring   routeFile `yaml:"scoring_route"`
	} `yaml:"inference_config"`
}

// UnmarshalYAML reads a reference or a definition.
func (e *environmentRef) UnmarshalYAML(node ast.Node) error {
	if isMapping(node) {
		return strictly(node, &e.environmentFile)
	}
	return strictly(node, &e.Ref)
}

// condaRef is a conda file or what would stand in it.
type condaRef struct {
	Path   string
	Inline map[string]any
}

// UnmarshalYAML reads a path or the content.
func (c *condaRef) UnmarshalYAML(node ast.Node) error {
	if isMapping(node) {
		return yaml.NodeToValue(node, &c.Inline)
	}
	return strictly(node, &c.Path)
}

// version is a string, however like a number it looks.
type version string

// UnmarshalYAML takes the text as it is written.
func (v *version) UnmarshalYAML(node ast.Node) error {
	if isMapping(node) {
		return fmt.Errorf("version is not a scalar")
	}
	*v = version(node.GetToken().Value)
	return nil
}

func isMapping(node ast.Node) bool {
	if anchor, ok := node.(*ast.AnchorNode); ok {
		node = anchor.Value
	}
	switch node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return true
	}
	return false
}

// strictly decodes a part as decode does the whole.
func strictly(node ast.Node, into any) error {
	return yaml.NodeToValue(node, into, yaml.Strict())
}
