package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report is what docs/performance.md says.
type report struct {
	Machine      string
	ColdStart    time.Duration
	WarmStarts   []time.Duration
	IdleBytes    int64
	Scenario     string
	ScenarioTook time.Duration
	ScenarioLog  string
	Client       *clientFlow
	Deployed     []deployed
	Gateway      *gatewayFigures
	Benchmarks   []string
}

func (r report) write(out io.Writer) {
	fmt.Fprintf(out, "# Performance\n\nWritten by `make bench`; nothing here is asserted in a test. Figures are one run's, on:\n\n%s\n\n| What | Figure |\n|---|---|\n", r.Machine)
	fmt.Fprintf(out, "| `up`, fresh state, to its first answer | %s |\n", milliseconds(r.ColdStart))
	if len(r.WarmStarts) > 0 {
		sorted := slices.Sorted(slices.Values(r.WarmStarts))
		fmt.Fprintf(out, "| `up`, warm state, to its first answer (median, worst of %d) | %s, %s |\n",
			len(sorted), milliseconds(sorted[len(sorted)/2]), milliseconds(sorted[len(sorted)-1]))
	}
	if r.IdleBytes > 0 {
		fmt.Fprintf(out, "| idle, 3 s after start, resident | %.1f MB |\n", float64(r.IdleBytes)/1e6)
	}
	for _, d := range r.Deployed {
		sorted := slices.Sorted(slices.Values(d.Took))
		fmt.Fprintf(out, "| %s: PUT to first score (median, worst of %d) | %s, %s |\n", d.What, len(sorted), milliseconds(sorted[len(sorted)/2]), milliseconds(sorted[len(sorted)-1]))
		if len(d.Own) == len(d.Took) {
			over := make([]time.Duration, 0, len(d.Own))
			for i := range d.Own {
				over = append(over, d.Took[i]-d.Own[i])
			}
			slices.Sort(over)
			fmt.Fprintf(out, "| the same over the script's own imports and init | %s, %s |\n", milliseconds(over[len(over)/2]), milliseconds(over[len(over)-1]))
		}
	}
	if c := r.Client; c != nil && c.Without != "" {
		fmt.Fprintf(out, "| azure-ai-ml, the system-assigned flow | NOT RUN: %s |\n", c.Without)
	} else if c != nil {
		fmt.Fprintf(out, "| azure-ai-ml, the system-assigned flow with a refused and a mended deployment | %.1f s, of which the emulator %.0f ms for %d requests |\n",
			c.Took.Seconds(), float64(c.Emulator.Microseconds())/1000, c.Requests)
	}
	if r.Scenario != "" {
		fmt.Fprintf(out, "| `scenario run %s`, environment already built, whole command | %.1f s |\n", r.Scenario, r.ScenarioTook.Seconds())
		fmt.Fprintf(out, "\n## The scenario's own times\n\n```\n%s\n```\n", strings.TrimSpace(r.ScenarioLog))
	}
	if g := r.Gateway; g != nil {
		g.write(out)
	}
	if len(r.Benchmarks) > 0 {
		fmt.Fprintf(out, "\n## Benchmarks\n\n```\n%s\n```\n", strings.Join(r.Benchmarks, "\n"))
	}
}

func (g *gatewayFigures) write(out io.Writer) {
	fmt.Fprintf(out, "\n## Scoring, beside nginx\n\n%d clients, bodies of 1 KiB each way, connections kept, TLS in front; medians of %d rounds in turns. The instance is a Go server without a sandbox, client and instance share the machine.\n\n| Way | Requests per second | Processor time per request, of the way alone |\n|---|---|---|\n",
		gatewayClients, gatewayRounds)
	fmt.Fprintf(out, "| the instance itself, without TLS | %.0f | |\n", g.Direct)
	if g.Without != "" {
		fmt.Fprintf(out, "| nginx as reverse proxy | NOT RUN: %s | |\n", g.Without)
	} else {
		fmt.Fprintf(out, "| nginx as reverse proxy | %.0f | %s |\n", g.Nginx, microseconds(g.NginxCPU))
	}
	fmt.Fprintf(out, "| the endpoint's public address, through the emulator | %.0f | %s |\n", g.Gateway, microseconds(g.GatewayCPU))
	if g.Nginx > 0 {
		fmt.Fprintf(out, "\nThe emulator reaches %.2f of nginx.\n", g.Gateway/g.Nginx)
	}
}

// microseconds leaves the cell empty where nothing was measured.
func microseconds(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return fmt.Sprintf("%d µs", d.Microseconds())
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.0f ms", float64(d.Microseconds())/1000)
}

// benchmarkLines keeps the figures and the packages they belong to.
func benchmarkLines(output string) []string {
	var lines []string
	var pkg string
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\n")
		if name, ok := strings.CutPrefix(line, "pkg: "); ok {
			pkg = name
		}
		if strings.HasPrefix(line, "Benchmark") && strings.Contains(line, "ns/op") {
			if pkg != "" {
				lines, pkg = append(lines, pkg), ""
			}
			lines = append(lines, "  "+line)
		}
	}
	return lines
}

// describeMachine names what figures depend on, and nothing that tells whose
// machine it is.
func describeMachine() string {
	cpu := "unknown processor"
	if raw, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(raw)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	text := fmt.Sprintf("%d cores, %s, %s/%s, %s", runtime.NumCPU(), cpu, runtime.GOOS, runtime.GOARCH, runtime.Version())
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		text += ", load before the run " + strings.Fields(string(load))[0]
	}
	if out, err := exec.Command("python3", "--version").Output(); err == nil {
		text += ", " + strings.TrimSpace(string(out))
	}
	return text
}
