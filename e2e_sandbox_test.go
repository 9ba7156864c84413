package amlocal

import (
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/amlocal/amlocal/internal/covers"
)

// TestSandboxedInstances asks real clients inside a sandbox: what they find of
// Azure, and that there is nothing else.
func TestSandboxedInstances(t *testing.T) {
	covers.C(t, sdk, "R-502", "R-503", "R-516", "R-1001")
	l := newLab(t, nil)
	if !strings.HasPrefix(l.e.Status().Isolation, "sandboxed") {
		covers.NotRun(t, "sandbox", l.e.Status().Isolation)
	}
	mine := *l.owner.endpoint(t, "boxed", wish(nil)).Identity.PrincipalID
	l.owner.endpoint(t, "other", wish(nil))
	l.owner.deploy(t, "boxed", "blue", l.owner.instance(t))
	l.owner.deploy(t, "other", "blue", l.owner.instance(t))
	if log := l.owner.logs(t, "boxed", "blue", armmachinelearning.ContainerTypeStorageInitializer); !strings.Contains(log, "Runner: sandboxed") {
		t.Errorf("the log does not say how it runs:\n%s", log)
	}
	env := environment(l.ask(t, "boxed", "blue", question{Do: "environment"}).Environment)
	for name := range env {
		if strings.Contains(strings.ToUpper(name), "PROXY") {
			t.Errorf("the instance has %s", name)
		}
	}
	read := question{Do: "read", Account: accountOne, Container: "box", Blob: "hello.txt"}
	if got := l.ask(t, "boxed", "blue", read); got.Code != "AuthorizationPermissionMismatch" {
		t.Errorf("without a role: %+v", got)
	}
	l.owner.grant(t, mine, "Storage Blob Data Reader", containerID(accountOne, "box"))
	if got := l.ask(t, "boxed", "blue", read); got.Text != helloText {
		t.Errorf("by public name: %+v", got)
	}
	for name, known := range map[string]bool{
		accountOne + ".blob.core.windows.net": true, "nosuchaccount.blob.core.windows.net": false, "example.com": false,
	} {
		got := l.ask(t, "boxed", "blue", question{Do: "resolve", Account: name})
		if known != (got.Error == "") || !known && !strings.Contains(got.Error, "no such host") {
			t.Errorf("%s: %q %q", name, got.Text, got.Error)
		}
	}
	if log := l.owner.logs(t, "boxed", "blue", armmachinelearning.ContainerTypeInferenceServer); !strings.Contains(log, "example.com does not resolve") {
		t.Errorf("the log does not explain a name:\n%s", log)
	}
	// Only IMDS is left, which knows each instance by its socket.
	for _, endpoint := range []string{"boxed", "other"} {
		token := l.ask(t, endpoint, "blue", question{Do: "token", Resource: forStorage, Bare: true})
		if oid := claimsOf(t, token.Text)["oid"]; token.Error != "" || (oid == mine) != (endpoint == "boxed") {
			t.Errorf("IMDS in %s: a token of %v, %s", endpoint, oid, token.Error)
		}
	}
	read.Bare = true
	if got := l.ask(t, "boxed", "blue", read); got.Text != helloText {
		t.Errorf("with IMDS alone: %+v", got)
	}
	if got := l.ask(t, "other", "blue", read); got.Code != "AuthorizationPermissionMismatch" {
		t.Errorf("the other instance, with IMDS alone: %+v", got)
	}
}
