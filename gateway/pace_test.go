package gateway

import (
	"testing"
	"time"

	"github.com/amlocal/amlocal/internal/clock"
)

// TestPace: bytes beyond the limit wait their time, and an idle endpoint saves
// none up.
func TestPace(t *testing.T) {
	machine := clock.NewManual(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	l := newRates(Rates{BytesPerSecond: 1000}, machine)
	l.machine = machine
	for _, endpoint := range []string{"a", "b"} {
		if refusal := l.count(endpoint, "caller"); refusal != nil {
			t.Fatal(refusal)
		}
	}
	for i, step := range []struct {
		endpoint string
		later    time.Duration
		bytes    int
		want     time.Duration
	}{
		{"a", 0, 500, 500 * time.Millisecond},
		{"a", 0, 500, time.Second},
		{"b", 0, 100, 100 * time.Millisecond},
		{"a", 600 * time.Millisecond, 100, 500 * time.Millisecond},
		{"a", time.Hour, 100, 100 * time.Millisecond},
	} {
		machine.Advance(step.later)
		if got := l.delay(step.endpoint, step.bytes); got != step.want {
			t.Errorf("step %d: %s waits %v, want %v", i, step.endpoint, got, step.want)
		}
	}
}
