package scenarios

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner/docker"
)

// agent is the emulator's own program, static, as the docker runner needs it.
var agent = sync.OnceValues(func() (string, error) {
	program := filepath.Join(sharedDir, "amlocal")
	cmd := exec.Command("go", "build", "-o", program, "../cmd/emulator")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	_, err := cmd.CombinedOutput()
	return program, err
})

// TestInContainers plays both stories with deployments as containers.
func TestInContainers(t *testing.T) {
	if err := docker.Available(t.Context(), ""); err != nil {
		covers.NotRun(t, "docker", "no engine answers")
	}
	program, err := agent()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ scenario, scorer, image string }{
		{"sai", "go", goImage}, {"sai", "python", pythonBase}, {"uai", "go", goImage}, {"uai", "python", pythonBase},
	} {
		t.Run(tt.scenario+" "+tt.scorer, func(t *testing.T) {
			if !docker.HasImages(t.Context(), "", tt.image) {
				covers.NotRun(t, "docker "+tt.scorer, "the engine has no image "+tt.image+"; make base-image sample-image")
			}
			covers.C(t, goSDK, "R-111", "R-123", "R-127", "R-206", "R-1001", "R-1033")
			text := run(t, tt.scenario, func(o *Options) { o.Runner, o.Scorer, o.AgentBinary = "docker", tt.scorer, program })
			inOrder(t, text,
				"runner=docker scorer="+tt.scorer+" because",
				"Blob contains: Hello from a blob",
				"create deployment green: must fail",
				"AuthorizationPermissionMismatch",
				"score blue, which still answers\n          | [",
				"az role assignment create --assignee-object-id ",
				"create deployment green again\n",
				"score green\n          | [",
				"ok: scenario ")
		})
	}
}

// TestSecretsInContainers plays the story of the secrets with containers.
func TestSecretsInContainers(t *testing.T) {
	if err := docker.Available(t.Context(), ""); err != nil {
		covers.NotRun(t, "docker", "no engine answers")
	}
	program, err := agent()
	if err != nil {
		t.Fatal(err)
	}
	for scorer, image := range map[string]string{"go": goImage, "python": pythonBase} {
		t.Run(scorer, func(t *testing.T) {
			if !docker.HasImages(t.Context(), "", image) {
				covers.NotRun(t, "docker "+scorer, "the engine has no image "+image+"; make base-image sample-image")
			}
			covers.C(t, goSDK, "R-704", "R-705", "R-706", "R-707", "R-708", "R-709", "R-711", "R-1054")
			text := run(t, "secrets", func(o *Options) { o.Runner, o.Scorer, o.AgentBinary = "docker", scorer, program })
			inOrder(t, text, append([]string{"runner=docker scorer=" + scorer + " because"}, secretsStory...)...)
		})
	}
}

func TestChooseImage(t *testing.T) {
	for _, tt := range []struct{ scorer, want string }{
		{"java", `--scorer "java"`},
	} {
		if _, err := chooseImage(t.Context(), Options{Scorer: tt.scorer}, choice{}); err == nil || err.Error()[:len(tt.want)] != tt.want {
			t.Errorf("scorer %q: %v", tt.scorer, err)
		}
	}
}
