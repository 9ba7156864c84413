package machinelearning

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/store"
)

// defaultInstanceType is what a cluster has where its owner defines none.
const defaultInstanceType = "defaultinstancetype"

// gpuResource is a GPU in an instance type; deployments just say "gpu".
const gpuResource = "nvidia.com/gpu"

// finishInstanceTypes checks the compute's instance types and adds the default
// one. In Azure they are read from the cluster; here the body says what the
// cluster has. The default's figures are the listing's of the page on instance
// types; its prose has another memory limit.
func finishInstanceTypes(doc arm.Document) error {
	doc.Default(map[string]any{}, "properties", "properties", "instanceTypes")
	types := doc.Object("properties", "properties", "instanceTypes")
	for name := range types {
		kind := types.Object(name)
		if kind == nil {
			return errInvalid("The instance type '%s' must be a JSON object.", name)
		}
		for _, bound := range []string{"requests", "limits"} {
			for resource, v := range kind.Object("resources", bound) {
				if _, ok := quantity(v); !ok && v != nil {
					return errInvalid("The instance type '%s' has no valid quantity for %s.%s: '%v'.", name, bound, resource, v)
				}
			}
		}
	}
	types.Default(map[string]any{
		"nodeSelector": nil,
		"resources": map[string]any{
			"requests": map[string]any{"cpu": "100m", "memory": "2Gi"},
			"limits":   map[string]any{"cpu": "2", "memory": "2Gi", gpuResource: nil},
		},
	}, defaultInstanceType)
	if name := doc.String("properties", "properties", "defaultInstanceType"); types.Object(name) == nil {
		return errInvalid("The default instance type '%s' is not among the compute's instance types.", name)
	}
	return nil
}

// instanceTypeOf is an instance type of a compute, nil for one it has not.
func instanceTypeOf(compute *arm.Record, name string) arm.Document {
	return compute.Document.Object("properties", "properties", "instanceTypes", name)
}

// fillResources completes a deployment's requests and limits from its instance
// type, as Kubernetes does: a request that is not stated is the limit that is.
func fillResources(doc, kind arm.Document) {
	doc.Default(map[string]any{}, "properties", "containerResourceRequirements", "containerResourceRequests")
	doc.Default(map[string]any{}, "properties", "containerResourceRequirements", "containerResourceLimits")
	requests := doc.Object("properties", "containerResourceRequirements", "containerResourceRequests")
	limits := doc.Object("properties", "containerResourceRequirements", "containerResourceLimits")
	for _, r := range resources {
		if stated := limits[r.name]; stated != nil {
			requests.Default(stated, r.name)
		} else if request := kind.Object("resources", "requests")[r.inType]; request != nil {
			requests.Default(request, r.name)
		}
		if limit := kind.Object("resources", "limits")[r.inType]; limit != nil {
			limits.Default(limit, r.name)
		}
	}
}

// resources are those a deployment speaks of, as it and as an instance type
// name them.
var resources = []struct{ name, inType string }{{"cpu", "cpu"}, {"memory", "memory"}, {"gpu", gpuResource}}

// clusterSize is what an instance may use: the limits of a deployment that was
// let through. Zero leaves it to the machine.
func clusterSize(doc arm.Document) (cores float64, memoryMiB int) {
	limits := doc.Object("properties", "containerResourceRequirements", "containerResourceLimits")
	cores, _ = quantity(limits["cpu"])
	bytes, _ := quantity(limits["memory"])
	return cores, int(bytes / (1 << 20))
}

// kubernetes reports whether the plan is of a Kubernetes deployment.
func (pl *plan) kubernetes() bool { return pl != nil && onCluster(pl.endpoint) }

// checkSize applies the documented order: requests up to limits, limits up to
// the instance type's.
func checkSize(tx store.ReadTx, pl *plan) error {
	id, err := computeKey(pl.endpoint.Document.String("properties", "compute"), pl.endpoint.ResourceID())
	if err != nil {
		return err
	}
	compute, _, err := attached(tx, id)
	if err != nil {
		return err
	}
	name := pl.doc.String("properties", "instanceType")
	kind := instanceTypeOf(compute, name)
	if kind == nil {
		return clusterFailure("InvalidDeploymentSpec", "The instance type '%s' is not defined for the compute '%s'.", name, compute.Name())
	}
	for _, r := range resources {
		request := pl.doc.Object("properties", "containerResourceRequirements", "containerResourceRequests")[r.name]
		limit := pl.doc.Object("properties", "containerResourceRequirements", "containerResourceLimits")[r.name]
		most := kind.Object("resources", "limits")[r.inType]
		if err := ordered(r.name, "requests", request, "limits", limit); err != nil {
			return err
		}
		if err := ordered(r.name, "limits", limit, fmt.Sprintf("the limit of the instance type '%s'", name), most); err != nil {
			return err
		}
	}
	return nil
}

// ordered wants less not to be above more, where both are stated.
func ordered(resource, lessName string, less any, moreName string, more any) error {
	if less == nil {
		return nil
	}
	a, ok := quantity(less)
	if !ok {
		return clusterFailure("InvalidDeploymentSpec", "%s.%s is not a quantity: '%v'.", lessName, resource, less)
	}
	if more == nil {
		return nil
	}
	b, ok := quantity(more)
	if !ok {
		return clusterFailure("InvalidDeploymentSpec", "%s.%s is not a quantity: '%v'.", moreName, resource, more)
	}
	if a > b {
		return deploymentError("BadArgument", "resource-requests-greater-than-limits",
			"Requests for resources must be less than or equal to limits: %s.%s is %v, and %s %v.", lessName, resource, less, moreName, more)
	}
	return nil
}

// quantityPattern is a Kubernetes quantity without exponents.
var quantityPattern = regexp.MustCompile(`^([0-9]{1,15}(?:\.[0-9]{1,9})?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$`)

var quantitySuffixes = map[string]float64{
	"": 1, "m": 0.001, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
	"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50,
}

// quantity reads a Kubernetes quantity, written as a text or as a number.
func quantity(v any) (float64, bool) {
	match := quantityPattern.FindStringSubmatch(fmt.Sprint(v))
	if match == nil {
		return 0, false
	}
	n, err := strconv.ParseFloat(match[1], 64)
	return n * quantitySuffixes[match[2]], err == nil
}
