package covers

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Fact is something a run found out about a client: its version, how it polls.
type Fact struct {
	Client string `json:"client"`
	Key    string `json:"key"`
	Value  string `json:"value"`
}

// About records a fact for docs/clients.md; without OutputEnv it does nothing.
func About(client, key, value string) error {
	dir := os.Getenv(OutputEnv)
	if dir == "" {
		return nil
	}
	raw, err := json.Marshal(Fact{client, key, value})
	if err != nil {
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return appendLine(filepath.Join(dir, fmt.Sprintf("%d.facts", os.Getpid())), string(raw))
}
