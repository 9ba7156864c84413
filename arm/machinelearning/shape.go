package machinelearning

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/amlocal/amlocal/arm"
)

// The members whose kind matters: of another kind they would be read as
// absent, and the wish would silently not be fulfilled.
var (
	endpointObjects   = []string{"identity", "identity.userAssignedIdentities", "tags", "properties", "properties.properties", "properties.traffic", "properties.mirrorTraffic", "properties.keys"}
	endpointTexts     = []string{"location", "identity.type", "properties.authMode", "properties.compute", "properties.publicNetworkAccess", "properties.keys.primaryKey", "properties.keys.secondaryKey"}
	deploymentObjects = []string{"sku", "tags", "properties", "properties.properties", "properties.environmentVariables", "properties.codeConfiguration", "properties.requestSettings", "properties.scaleSettings", "properties.containerResourceRequirements", "properties.containerResourceRequirements.containerResourceRequests", "properties.containerResourceRequirements.containerResourceLimits", "properties.livenessProbe", "properties.readinessProbe"}
	deploymentTexts   = []string{"location", "properties.endpointComputeType", "properties.instanceType", "properties.environmentId", "properties.model", "properties.codeConfiguration.codeId", "properties.codeConfiguration.scoringScript", "properties.scaleSettings.scaleType"}
)

// checkShape wants each member to be absent, null or of its kind.
func checkShape(doc arm.Document, objects, texts []string) error {
	for _, path := range objects {
		steps := strings.Split(path, ".")
		if v, _ := doc.Get(steps...); v != nil && doc.Object(steps...) == nil {
			return errInvalid("%s must be a JSON object.", path)
		}
	}
	for _, path := range texts {
		v, _ := doc.Get(strings.Split(path, ".")...)
		if _, fits := v.(string); v != nil && !fits {
			return errInvalid("%s must be a JSON string.", path)
		}
	}
	return nil
}

// textValues makes the values of a member that maps names to texts texts.
// azure-ai-ml 1.35 sends what the user or itself wrote, such as the number
// 202208 as hash_version of every code asset; the published model, and so every
// typed client that reads the answer, knows strings only. That the service
// converts is inferred from that, for bools by analogy.
func textValues(doc arm.Document, path ...string) {
	values := doc.Object(path...)
	for name, value := range values {
		switch v := value.(type) {
		case json.Number:
			values[name] = v.String()
		case bool:
			values[name] = strconv.FormatBool(v)
		}
	}
}
