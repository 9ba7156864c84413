package machinelearning

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/store"
)

// number reads a JSON number, or a string of digits: the az CLI sends traffic
// percentages as strings.
func number(v any) (int, bool) {
	switch v := v.(type) {
	case json.Number:
		n, err := strconv.Atoi(v.String())
		return n, err == nil
	case string:
		n, err := strconv.Atoi(strings.TrimSpace(v))
		return n, err == nil
	case float64:
		return int(v), v == float64(int(v))
	case int:
		return v, true
	}
	return 0, false
}

// readTraffic reads properties.traffic or properties.mirrorTraffic. Names
// are matched without regard to case against the endpoint's deployments
// (lower-cased name -> name) and come out as the deployments are spelled.
func readTraffic(doc arm.Document, member string, deployments map[string]string) (map[string]int, error) {
	out := map[string]int{}
	for name, raw := range doc.Object("properties", member) {
		percent, ok := number(raw)
		if !ok || percent < 0 || percent > 100 {
			return nil, errTraffic("The %s of deployment '%s' must be a whole percentage from 0 to 100.", member, name)
		}
		spelled, exists := deployments[strings.ToLower(name)]
		if !exists {
			if percent == 0 {
				continue
			}
			return nil, errTraffic("The %s names the deployment '%s', which does not exist.", member, name)
		}
		out[spelled] = percent
	}
	return out, nil
}

// checkTraffic applies the documented rules to both maps.
func checkTraffic(live, mirror map[string]int) error {
	sum := 0
	for _, percent := range live {
		sum += percent
	}
	if sum != 0 && sum != 100 {
		return errTraffic("The traffic percentages must sum to 0 or 100, but sum to %d.", sum)
	}
	if len(mirror) > 1 {
		return errTraffic("Traffic can be mirrored to one deployment only.")
	}
	for name, percent := range mirror {
		if percent > 50 {
			return errTraffic("At most 50 %% of the traffic can be mirrored; deployment '%s' asks for %d %%.", name, percent)
		}
		if percent > 0 && live[name] > 0 {
			return errTraffic("The deployment '%s' cannot have live and mirrored traffic at once.", name)
		}
	}
	return nil
}

// deploymentNames maps lower-cased names to the endpoint's deployments.
func deploymentNames(tx store.ReadTx, endpointID string) (map[string]string, error) {
	recs, err := arm.List(tx, endpointID, deploymentType)
	if err != nil {
		return nil, err
	}
	names := make(map[string]string, len(recs))
	for _, rec := range recs {
		names[strings.ToLower(rec.Name())] = rec.Name()
	}
	return names, nil
}

func toDocument(m map[string]int) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = json.Number(strconv.Itoa(v))
	}
	return out
}
