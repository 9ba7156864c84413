package machinelearning

import (
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"PT5S": 5 * time.Second, "PT0.5S": 500 * time.Millisecond, "PT1M30S": 90 * time.Second,
		"PT2H": 2 * time.Hour, "P1DT1S": 24*time.Hour + time.Second, "P1D": 24 * time.Hour, "PT0S": 0,
	} {
		if got, ok := duration(text); !ok || got != want {
			t.Errorf("duration(%q) = %v, %v; want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "P", "PT", "P1DT", "5s", "PT-5S", "PT5", "pt5s", "PT5S ", "P1W"} {
		if got, ok := duration(text); ok {
			t.Errorf("duration(%q) = %v, want a refusal", text, got)
		}
	}
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{"PT5S", "P1DT2H3M4.5S", "PT", "P99999DT999999H9999999M999999999S"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, ok := duration(s); ok && d < 0 {
			t.Errorf("duration(%q) = %v", s, d)
		}
	})
}
