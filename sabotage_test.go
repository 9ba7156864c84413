package amlocal

import (
	"context"
	"os"
	"testing"
	"time"
)

// surroundingSabotage is the switch scripts/sabotage has set, if any.
func surroundingSabotage(t *testing.T) sabotage {
	t.Helper()
	name := os.Getenv(sabotageEnv)
	if name == "" {
		return sabotage{}
	}
	s, ok := sabotageFor(name)
	if !ok {
		t.Fatalf("%s=%s is no switch", sabotageEnv, name)
	}
	return s
}

func contextWithTimeout(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}
