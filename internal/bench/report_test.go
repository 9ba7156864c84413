package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestReport(t *testing.T) {
	r := report{
		Machine: "2 cores", ColdStart: 120 * time.Millisecond,
		WarmStarts: []time.Duration{30 * time.Millisecond, 90 * time.Millisecond, 40 * time.Millisecond},
		IdleBytes:  31_400_000, Scenario: "sai", ScenarioTook: 4200 * time.Millisecond, ScenarioLog: "step 1\n",
		Deployed: []deployed{{What: "Go", Took: []time.Duration{500 * time.Millisecond}},
			{What: "Python", Took: []time.Duration{time.Second, 3 * time.Second}, Own: []time.Duration{400 * time.Millisecond, 600 * time.Millisecond}}},
		Gateway:    &gatewayFigures{Direct: 3000, Nginx: 2000, Gateway: 1700, NginxCPU: 40 * time.Microsecond, GatewayCPU: 1500 * time.Nanosecond},
		Benchmarks: benchmarkLines("goos: linux\npkg: example/store\nBenchmarkPut-2   100   2200 ns/op\nPASS\npkg: example/none\nPASS\n"),
	}
	var out bytes.Buffer
	r.write(&out)
	for _, want := range []string{
		"first answer | 120 ms |", "(median, worst of 3) | 40 ms, 90 ms |", "resident | 31.4 MB |",
		"| Go: PUT to first score (median, worst of 1) | 500 ms, 500 ms |", "(median, worst of 2) | 3000 ms, 3000 ms |", "own imports and init | 2400 ms, 2400 ms |",
		"whole command | 4.2 s |", "| nginx as reverse proxy | 2000 | 40 µs |", "through the emulator | 1700 | 1 µs |", "reaches 0.85 of nginx", "```\nstep 1\n```", "example/store\n  BenchmarkPut-2   100   2200 ns/op\n```",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the document lacks %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "example/none") {
		t.Error("a package without figures is named")
	}
}

func TestProcessorTime(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"7 (a) b) c) S 1 7 7 0 -1 4194560 100 0 0 0 12 34 0 0 20 0 1 0 5 1000 10": 460 * time.Millisecond,
		"7 (short) S 1": 0, "": 0,
	} {
		if got := statTime([]byte(text)); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
