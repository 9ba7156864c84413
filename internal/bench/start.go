package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// patience is how long an emulator may take before the measurement fails.
const patience = 30 * time.Second

// start runs `up` until its first answer, lets it idle for settle, reads its
// resident memory and ends it.
func start(bin, state string, settle time.Duration) (took time.Duration, memory int64, err error) {
	runFile := filepath.Join(state, "run.json")
	if err := os.Remove(runFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, 0, err
	}
	var output bytes.Buffer
	cmd := exec.Command(bin, "up", "--port", "0", "--state", state, "--runner", "process")
	cmd.Stdout, cmd.Stderr = &output, &output
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	var ending error // valid once ended is closed
	ended := make(chan struct{})
	go func() {
		ending = cmd.Wait()
		close(ended)
	}()
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			<-ended
		}
	}()

	client := &http.Client{Transport: &http.Transport{Proxy: nil}, Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	for {
		if answers(client, runFile) {
			took = time.Since(begin)
			break
		}
		select {
		case <-ended:
			return 0, 0, fmt.Errorf("up ended: %w\n%s", ending, output.String())
		case <-time.After(time.Millisecond):
		}
		if time.Since(begin) > patience {
			return 0, 0, fmt.Errorf("up did not answer in %s\n%s", patience, output.String())
		}
	}
	time.Sleep(settle)
	return took, residentMemory(cmd.Process.Pid), nil
}

// answers reads the port from the state folder, as any client does, and asks.
func answers(client *http.Client, runFile string) bool {
	raw, err := os.ReadFile(runFile)
	if err != nil {
		return false
	}
	var access struct{ Port int }
	if json.Unmarshal(raw, &access) != nil || access.Port == 0 {
		return false
	}
	resp, err := client.Get("http://127.0.0.1:" + strconv.Itoa(access.Port) + "/_amlocal/healthz")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// residentMemory is 0 where the system does not tell.
func residentMemory(pid int) int64 {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}
