package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/amlocal/amlocal/runner/docker"
)

func main() {
	if os.Getenv(echoEnv) != "" {
		fmt.Fprintf(os.Stderr, "bench: %v\n", serveEcho())
		os.Exit(1)
	}
	bin := flag.String("bin", "bin/amlocal", "the `program` to measure")
	out := flag.String("out", "docs/performance.md", "the `file` to write")
	starts := flag.Int("starts", 15, "how many warm starts")
	scenario := flag.String("scenario", "sai", "the scenario to time; empty for none")
	args := flag.String("scenario-args", "", "further arguments of `scenario run`")
	deploys := flag.Int("deployments", 7, "how many deployments of each kind; 0 for none")
	packages := flag.String("packages", "./...", "packages whose benchmarks run; empty for none")
	gateway := flag.Bool("gateway", true, "compare scoring with nginx")
	flag.Parse()
	if err := run(*bin, *out, *starts, *scenario, strings.Fields(*args), *deploys, *packages, *gateway); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func run(bin, out string, starts int, scenario string, args []string, deploys int, packages string, gateway bool) error {
	results := report{Machine: describeMachine()}
	state, err := os.MkdirTemp("", "amlocal-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(state) }()

	fmt.Println("starts")
	first, _, err := start(bin, state, 0)
	if err != nil {
		return err
	}
	results.ColdStart = first
	for i := range starts {
		var settle time.Duration
		if i == starts-1 {
			settle = 3 * time.Second
		}
		took, memory, err := start(bin, state, settle)
		if err != nil {
			return err
		}
		results.WarmStarts = append(results.WarmStarts, took)
		results.IdleBytes = memory
	}

	if scenario != "" {
		fmt.Println("scenario", scenario)
		// Once to fill the caches: the environment is built then.
		for range 2 {
			cmd := exec.Command(bin, append([]string{"scenario", "run", scenario}, args...)...)
			begin := time.Now()
			output, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Errorf("%s: %w\n%s", cmd, err, output)
			}
			results.Scenario, results.ScenarioTook, results.ScenarioLog = scenario, time.Since(begin), withoutPlace(string(output))
		}
	}

	if scenario != "" {
		fmt.Println("azure-ai-ml")
		flow, err := pythonFlow(context.Background())
		if err != nil {
			return err
		}
		results.Client = &flow
	}

	if deploys > 0 {
		fmt.Println("deployments")
		runners := []string{"process"}
		if docker.HasImages(context.Background(), "", "amlocal/python") && docker.HasImages(context.Background(), "", "amlocal/goscorer") {
			runners = append(runners, "docker")
		}
		for _, runner := range runners {
			rows, err := deployments(context.Background(), bin, runner, deploys)
			if err != nil {
				return err
			}
			results.Deployed = append(results.Deployed, rows...)
		}
	}

	if gateway {
		fmt.Println("gateway and nginx")
		figures, err := compareGateway(bin)
		if err != nil {
			return err
		}
		results.Gateway = &figures
	}

	if packages != "" {
		fmt.Println("benchmarks")
		cmd := exec.Command("go", "test", "-run", "^$", "-bench", ".", "-benchmem", packages)
		output, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", cmd, err, output)
		}
		results.Benchmarks = benchmarkLines(string(output))
	}

	var doc bytes.Buffer
	results.write(&doc)
	return os.WriteFile(out, doc.Bytes(), 0o644)
}

// withoutPlace takes this checkout's folder out of a text: a report is for
// everyone.
func withoutPlace(text string) string {
	dir, err := os.Getwd()
	if err != nil {
		return text
	}
	return strings.ReplaceAll(text, dir+string(os.PathSeparator), "")
}
