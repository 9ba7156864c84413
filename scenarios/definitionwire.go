package scenarios

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
)

// What azure-ai-ml makes of a file; clients/e2e compares with the original.

// wire is the endpoint's body, without traffic: its deployments come first.
func (e *endpointFile) wire() (ml.OnlineEndpoint, error) {
	body := ml.OnlineEndpoint{
		Location: to.Ptr(location),
		Tags:     pointers(e.Tags),
		Identity: &ml.ManagedServiceIdentity{Type: to.Ptr(ml.ManagedServiceIdentityTypeSystemAssigned)},
		Properties: &ml.OnlineEndpointProperties{
			Description: e.Description, Properties: pointers(e.Properties),
			Traffic: map[string]*int32{}, MirrorTraffic: map[string]*int32{},
		},
	}
	switch strings.ToLower(e.AuthMode) {
	case "key", "":
		body.Properties.AuthMode = to.Ptr(ml.EndpointAuthModeKey)
	case "aml_token":
		body.Properties.AuthMode = to.Ptr(ml.EndpointAuthModeAMLToken)
	case "aad_token":
		body.Properties.AuthMode = to.Ptr(ml.EndpointAuthModeAADToken)
	default:
		return body, fmt.Errorf("auth_mode %q: the modes are key, aml_token and aad_token", e.AuthMode)
	}
	if e.PublicAccess != "" {
		body.Properties.PublicNetworkAccess = to.Ptr(ml.PublicNetworkAccessType(e.PublicAccess))
	}
	if e.Identity == nil {
		return body, nil
	}
	switch strings.ToLower(e.Identity.Type) {
	case "system_assigned", "":
	case "user_assigned":
		body.Identity.Type = to.Ptr(ml.ManagedServiceIdentityTypeUserAssigned)
		body.Identity.UserAssignedIdentities = map[string]*ml.UserAssignedIdentity{}
		for _, id := range e.Identity.UserAssigned {
			body.Identity.UserAssignedIdentities[id] = &ml.UserAssignedIdentity{}
		}
	case "none":
		body.Identity.Type = to.Ptr(ml.ManagedServiceIdentityTypeNone)
	default:
		return body, fmt.Errorf("identity.type %q: the types are system_assigned, user_assigned and none", e.Identity.Type)
	}
	return body, nil
}

// wire is the deployment's body but for its assets.
func (d *deploymentFile) wire() (ml.OnlineDeployment, *ml.ManagedOnlineDeployment) {
	p := &ml.ManagedOnlineDeployment{
		EndpointComputeType: to.Ptr(ml.EndpointComputeTypeManaged), InstanceType: &d.InstanceType,
		Description: d.Description, Properties: pointers(d.Properties), ModelMountPath: d.MountPath,
		EnvironmentVariables: pointers(d.Variables), AppInsightsEnabled: &d.AppInsights,
		RequestSettings: d.Requests.wire(), LivenessProbe: d.Liveness.wire(), ReadinessProbe: d.Readiness.wire(),
	}
	if d.Egress != "" {
		p.EgressPublicNetworkAccess = to.Ptr(ml.EgressPublicNetworkAccessType(d.Egress))
	}
	switch s := d.Scale; {
	case s == nil:
	case s.Type == "target_utilization":
		p.ScaleSettings = &ml.TargetUtilizationScaleSettings{
			ScaleType: to.Ptr(ml.ScaleTypeTargetUtilization), PollingInterval: iso(s.Polling, time.Second),
			TargetUtilizationPercentage: s.Target, MinInstances: s.Min, MaxInstances: s.Max,
		}
	default:
		p.ScaleSettings = &ml.DefaultScaleSettings{ScaleType: to.Ptr(ml.ScaleTypeDefault)}
	}
	return ml.OnlineDeployment{
		Location: to.Ptr(location), Tags: pointers(d.Tags), Properties: p,
		SKU: &ml.SKU{Name: to.Ptr("Default"), Capacity: to.Ptr(max(d.InstanceCount, 1))},
	}, p
}

func (r *requestsFile) wire() *ml.OnlineRequestSettings {
	if r == nil {
		return nil
	}
	return &ml.OnlineRequestSettings{
		RequestTimeout: iso(r.Timeout, time.Millisecond), MaxQueueWait: iso(r.QueueWait, time.Millisecond),
		MaxConcurrentRequestsPerInstance: r.Concurrent,
	}
}

func (p *probeFile) wire() *ml.ProbeSettings {
	if p == nil {
		return nil
	}
	return &ml.ProbeSettings{
		Period: iso(p.Period, time.Second), InitialDelay: iso(p.InitialDelay, time.Second), Timeout: iso(p.Timeout, time.Second),
		SuccessThreshold: p.SuccessThreshold, FailureThreshold: p.FailureThreshold,
	}
}

// iso is a number of units as an ISO 8601 duration, nil for none: the client
// sends no zero.
func iso(n int64, unit time.Duration) *string {
	if n == 0 {
		return nil
	}
	rest := time.Duration(n) * unit
	var date, clock strings.Builder
	for _, part := range []struct {
		of   time.Duration
		name string
		into *strings.Builder
	}{{24 * time.Hour, "D", &date}, {time.Hour, "H", &clock}, {time.Minute, "M", &clock}} {
		if count := rest / part.of; count > 0 {
			fmt.Fprintf(part.into, "%d%s", count, part.name)
			rest -= count * part.of
		}
	}
	if rest > 0 {
		clock.WriteString(strconv.FormatFloat(rest.Seconds(), 'f', -1, 64) + "S")
	}
	out := "P" + date.String()
	if clock.Len() > 0 {
		out += "T" + clock.String()
	}
	return &out
}

func pointers(values map[string]string) map[string]*string {
	out := map[string]*string{}
	for name, value := range values {
		out[name] = &value
	}
	return out
}
