package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// image is this suite's own, made from the source as it is.
const image = "amlocal/emulator:e2e-tcamlocal"

func TestMain(m *testing.M) {
	// Its image cannot be pulled everywhere; the tests clean up themselves.
	if err := os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true"); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	code := m.Run()
	_ = exec.Command("docker", "rmi", image).Run() // it may not have been made
	os.Exit(code)
}
