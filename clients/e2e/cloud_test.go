package e2e

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestAzCustomCloud(t *testing.T) {
	t.Parallel()
	access := labOf(t).emulator.Access()
	config, err := json.Marshal(access.CloudConfig())
	if err != nil {
		t.Fatal(err)
	}
	address := strings.Replace(access.URL(), "http://127.0.0.1", "https://localhost", 1)
	got := run(t, azCommand(t, "cloud.sh", address, string(config)))
	got.want(t, map[string]any{
		"byEndpoint": nil, "byConfig": nil, "discovered": []string{address, address, "https://management.core.windows.net/"},
		"discovered-login": [][]string{{"discovered", "servicePrincipal"}}, "discovered-group": "eastus",
		"amlocal-login": [][]string{{"amlocal", "servicePrincipal"}}, "amlocal-group": "eastus",
	})
	failure, _ := got["wrong"].(map[string]any)
	if text, _ := failure["error"].(string); !strings.Contains(text, "AADSTS7000215") {
		t.Errorf("wrong secret: %v", got["wrong"])
	}
}
