package amlocal

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/amlocal/amlocal/arm/machinelearning"
	"github.com/amlocal/amlocal/gateway"
)

// Limits are the quotas of the subscription. Zero fields are the published
// values; lower ones let a test run into them.
type Limits struct {
	machinelearning.Limits
	// RoleAssignments count per subscription.
	RoleAssignments int
	// Scoring is what a managed endpoint takes. Zero fields are no limits:
	// the published ones would surprise on one machine.
	Scoring gateway.Rates
}

// bandwidth is the one limit that is neither a count nor a time.
const bandwidth = "bandwidth"

// ParseLimits reads limits by the names `up --limit` takes.
func ParseLimits(values map[string]string) (l Limits, err error) {
	counts := map[string]*int{
		"endpoints": &l.Endpoints, "deployments": &l.Deployments, "deployments-per-endpoint": &l.DeploymentsPerEndpoint,
		"instances": &l.Instances, "role-assignments": &l.RoleAssignments,
		"requests-per-second": &l.Scoring.RequestsPerSecond, "connections": &l.Scoring.Connections,
	}
	times := map[string]*time.Duration{"request-timeout": &l.RequestTimeout, "kubernetes-request-timeout": &l.KubernetesRequestTimeout}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values[name]
		switch count, isCount := counts[name]; {
		case isCount:
			if *count, err = strconv.Atoi(value); err != nil || *count < 1 {
				return l, fmt.Errorf("--limit %s=%s: a whole number of at least 1 is needed", name, value)
			}
		case times[name] != nil:
			if *times[name], err = time.ParseDuration(value); err != nil || *times[name] <= 0 {
				return l, fmt.Errorf("--limit %s=%s: a duration such as 90s is needed", name, value)
			}
		case name == bandwidth:
			megabytes, err := strconv.ParseFloat(value, 64)
			if err != nil || !(megabytes >= 0.001 && megabytes <= 1e6) {
				return l, fmt.Errorf("--limit %s=%s: megabytes per second are needed, such as 5", name, value)
			}
			l.Scoring.BytesPerSecond = int(megabytes * 1e6)
		default:
			known := slices.Sorted(maps.Keys(counts))
			known = append(append(known, slices.Sorted(maps.Keys(times))...), bandwidth)
			return l, fmt.Errorf("--limit %s: the limits are %s", name, strings.Join(known, ", "))
		}
	}
	return l, nil
}
