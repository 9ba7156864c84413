package machinelearning

import (
	"encoding/json"
	"math"
	"testing"
)

func TestQuantity(t *testing.T) {
	for text, want := range map[string]float64{
		"1": 1, "100m": 0.1, "0.5": 0.5, "2Gi": 2 << 30, "1G": 1e9, "512Mi": 512 << 20, "1.5Ki": 1536, "0": 0,
	} {
		if got, ok := quantity(text); !ok || math.Abs(got-want) > 1e-9*max(want, 1) {
			t.Errorf("%s is %v %t, want %v", text, got, ok, want)
		}
	}
	if got, ok := quantity(json.Number("2")); !ok || got != 2 {
		t.Errorf("the number 2 is %v %t", got, ok)
	}
	for _, v := range []any{"", "m", "-1", "1 Gi", "1gi", "1e3", "Gi", ".5", "1.", "NaN", nil, true, map[string]any{}} {
		if got, ok := quantity(v); ok {
			t.Errorf("%v was taken for %v", v, got)
		}
	}
}

func FuzzQuantity(f *testing.F) {
	for _, s := range []string{"100m", "2Gi", "0.5", "1e9", "-1", "999999999999999P"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, ok := quantity(s); ok && (math.IsNaN(got) || math.IsInf(got, 0) || got < 0) {
			t.Errorf("%q is %v", s, got)
		}
	})
}
