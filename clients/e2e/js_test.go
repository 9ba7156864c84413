package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/internal/covers"
)

const azureJS = "azure-sdk-for-js"

func TestJavaScript(t *testing.T) {
	t.Parallel()
	covers.C(t, azureJS, "R-601", "R-801", "R-1003")
	dir := javaScript(t)
	cmd := labOf(t).command(t, "node", "sai.mjs", "js-sai", "jssaistorage")
	cmd.Dir = dir // where its modules are
	got := run(t, cmd)
	got.want(t, map[string]any{
		"listed": []string{"hello.txt"}, "refused": "RestError 403 AuthorizationPermissionMismatch", "state": "Succeeded",
		"principalType": "ServicePrincipal", "deployed": "Succeeded", "traffic": map[string]int{"blue": 100}, "left": "RestError 404",
	})
	if !strings.HasPrefix(got.text("workspaceId"), "/subscriptions/") {
		t.Errorf("the workspace's id is %q", got.text("workspaceId"))
	}
	got.wantServed(t)
}

// javaScript installs the client's modules and answers their folder.
func javaScript(t *testing.T) string {
	t.Helper()
	files := filepath.Join(clientsDir(), "js")
	var from []string
	for _, name := range []string{"package.json", "package-lock.json", "sai.mjs"} {
		from = append(from, filepath.Join(files, name))
	}
	return install(t, "js", lacksProgram("node", "npm"), from, func(dir string) []*exec.Cmd {
		return []*exec.Cmd{
			exec.Command("cp", append(from, dir)...),
			exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--cache", filepath.Join(cacheDir(), "clients", "npm-cache")),
		}
	})
}
