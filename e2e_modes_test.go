package amlocal

import (
	"net/http"
	"os"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/amlocal/amlocal/internal/covers"
)

const oneRow = `{"data": [[1,2,3,4,5,6,7,8,9,10]]}`

// TestModesDeployAlike: the auth mode is the endpoint's alone. Deployments are
// made the same way under each; it can be changed, and scoring changes nothing.
func TestModesDeployAlike(t *testing.T) {
	covers.C(t, "azure-sdk-for-go", "R-318", "R-401", "R-415", "R-617")
	l := newLab(t, nil)
	body := l.owner.scorer(t)
	for name, mode := range map[string]armmachinelearning.EndpointAuthMode{
		"mode-key": armmachinelearning.EndpointAuthModeKey, "mode-aml": armmachinelearning.EndpointAuthModeAMLToken, "mode-aad": armmachinelearning.EndpointAuthModeAADToken,
	} {
		e := l.owner.endpoint(t, name, wish(func(e *armmachinelearning.OnlineEndpoint) { e.Properties.AuthMode = &mode }))
		l.owner.grant(t, *e.Identity.PrincipalID, "Storage Blob Data Reader", accountID(accountOne))
		l.owner.deploy(t, name, "blue", body)
		if got := l.owner.stateOf(t, name, "blue"); got != "Succeeded" {
			t.Errorf("%s: %s", mode, got)
		}
	}
	key := *l.owner.keys(t, "mode-key").PrimaryKey
	if err := l.owner.traffic(t, "mode-key", map[string]int32{"blue": 100}); err != nil {
		t.Fatal(err)
	}
	before := l.armRaw(t, http.MethodGet, seedWorkspace+"/onlineEndpoints/mode-key", l.owner.token(t, "https://management.azure.com"), "")
	if a := l.score(t, "mode-key", "", key, oneRow); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	after := l.armRaw(t, http.MethodGet, seedWorkspace+"/onlineEndpoints/mode-key", l.owner.token(t, "https://management.azure.com"), "")
	if string(before.body) != string(after.body) {
		t.Errorf("scoring changed the endpoint:\n%s\n%s", before.body, after.body)
	}

	got, err := l.owner.endpoints(t).Get(t.Context(), groupName, wsName, "mode-key", nil)
	if err != nil {
		t.Fatal(err)
	}
	got.OnlineEndpoint.Properties.AuthMode = to.Ptr(armmachinelearning.EndpointAuthModeAMLToken)
	changed := l.owner.endpoint(t, "mode-key", got.OnlineEndpoint)
	if *changed.Properties.AuthMode != armmachinelearning.EndpointAuthModeAMLToken {
		t.Errorf("the mode is %s", *changed.Properties.AuthMode)
	}
	if a := l.score(t, "mode-key", "", key, oneRow); a.status != http.StatusUnauthorized {
		t.Errorf("the key after the change: %d", a.status)
	}
	token, err := l.owner.endpoints(t).GetToken(t.Context(), groupName, wsName, "mode-key", nil)
	if err != nil {
		t.Fatal(err)
	}
	if a := l.score(t, "mode-key", "", *token.AccessToken, oneRow); a.status != http.StatusOK {
		t.Errorf("the token after the change: %d %s", a.status, a.body)
	}
}

// TestImageOfAnotherRegistry: a finished image is pulled from where it lies,
// and the endpoint's identity has to be let in there.
func TestImageOfAnotherRegistry(t *testing.T) {
	covers.C(t, "azure-sdk-for-go", "R-225", "R-1031", "R-1034")
	const image = "teamregistry.azurecr.io/team/score:1"
	l := newLab(t, func(c *Config) {
		world, err := os.ReadFile(c.World)
		if err != nil {
			t.Fatal(err)
		}
		world = append(world, "  "+image+": ["+scorerBinary(t)+", -port, \"8080\"]\n"...)
		if err := os.WriteFile(c.World, world, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	e := l.owner.endpoint(t, "from-team", wish(nil))
	l.owner.grant(t, *e.Identity.PrincipalID, "Storage Blob Data Reader", accountID(accountOne))
	body := l.owner.scorer(t)
	body.Properties.(*armmachinelearning.ManagedOnlineDeployment).EnvironmentID = to.Ptr(l.owner.image(t, "team", image))
	wantError(t, l.owner.tryDeploy(t, "from-team", "early", body), http.StatusOK, "BadArgument", "does not exist")

	registry := seedGroup + "/providers/Microsoft.ContainerRegistry/registries/teamregistry"
	if a := l.armRaw(t, http.MethodPut, registry, l.owner.token(t, "https://management.azure.com"), `{"location":"eastus","sku":{"name":"Basic"}}`); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	wantError(t, l.owner.tryDeploy(t, "from-team", "shut", body), http.StatusOK, "BadArgument", "teamregistry", "AcrPull")
	l.owner.grant(t, *e.Identity.PrincipalID, "AcrPull", registry)
	l.owner.deploy(t, "from-team", "blue", body)
}
