package compose

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// image is this suite's own, made from the source as it is.
const image = "amlocal/emulator:e2e-compose"

const root = "../.."

// program is the command line on this machine.
var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "amlocal-compose-")
		if err != nil {
			fmt.Println(err)
			return 1
		}
		defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
		program = filepath.Join(dir, "bin", "amlocal")
		build := exec.Command("go", "build", "-o", program, root+"/cmd/emulator")
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // it becomes an agent too
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Printf("build: %v\n%s", err, out)
			return 1
		}
		defer func() { _ = exec.Command("docker", "rmi", image).Run() }() // it may not have been made
		return m.Run()
	}())
}
