package e2e

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/amlocal/amlocal/internal/covers"
)

const azureJava = "azure-sdk-for-java"

func TestJava(t *testing.T) {
	t.Parallel()
	covers.C(t, azureJava, "R-601", "R-801", "R-1003")
	dir := java(t)
	cmd := labOf(t).command(t, "java", "-cp", "classes:lib/*", "Sai", "java-sai", "javasaistorage")
	cmd.Dir = dir
	got := run(t, cmd)
	got.want(t, map[string]any{
		"listed": []string{"hello.txt"}, "refused": "403 AuthorizationPermissionMismatch",
		"state": "Succeeded", "deployed": "Succeeded", "left": 404,
	})
	got.wantServed(t)
}

// java fetches the client's libraries, compiles it, and answers the folder.
func java(t *testing.T) string {
	t.Helper()
	files := filepath.Join(clientsDir(), "java")
	from := []string{filepath.Join(files, "pom.xml"), filepath.Join(files, "Sai.java")}
	return install(t, "java", lacksProgram("java", "javac", "mvn"), from, func(dir string) []*exec.Cmd {
		return []*exec.Cmd{
			exec.Command("cp", append(from, dir)...),
			exec.Command("mvn", "-q", "-B", "-Dmaven.repo.local="+filepath.Join(cacheDir(), "clients", "m2"),
				"dependency:copy-dependencies", "-DoutputDirectory=lib"),
			exec.Command("javac", "-nowarn", "-cp", "lib/*", "-d", "classes", "Sai.java"),
		}
	})
}
