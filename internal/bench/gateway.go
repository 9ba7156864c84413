package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/amlocal/amlocal/azure"
)

// The load of the comparison with nginx: what issue and documentation name.
const (
	gatewayClients = 64
	gatewayBody    = 1 << 10
	gatewayRound   = 2 * time.Second
	gatewayRounds  = 3
)

// echoEnv makes this program a server that answers what it is sent.
const echoEnv = "AMLOCAL_BENCH_ECHO"

// gatewayFigures compare scoring through the emulator with nginx as a reverse
// proxy before the same instance, in requests per second, in the same run.
type gatewayFigures struct {
	Direct, Nginx, Gateway float64
	// NginxCPU and GatewayCPU are the processor time one request costs there.
	// Unlike rates they hardly depend on what else the machine does.
	NginxCPU, GatewayCPU time.Duration
	Without              string // why there is no nginx
}

// serveEcho is the instance.
func serveEcho() error {
	port := os.Getenv("AMLOCAL_PORT_8080")
	if port == "" {
		port = "8080"
	}
	return http.ListenAndServe("127.0.0.1:"+port, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:gosec // for a minute, on loopback
		w.Header().Set("Content-Type", "application/json")
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	}))
}

// compareGateway deploys the echo server and asks it three ways, in turns, so
// that whatever else the machine does hits all of them.
func compareGateway(bin string) (g gatewayFigures, err error) {
	dir, err := os.MkdirTemp("", "amlocal-bench-gateway-")
	if err != nil {
		return g, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	site, err := deployEcho(bin, dir)
	if site != nil {
		defer func() { err = errors.Join(err, site.down()) }()
	}
	if err != nil {
		return g, err
	}
	direct := target{client: plainClient(), url: site.instance + "/score"}
	gateway := target{client: site.client, url: site.scoring, key: site.key, pid: site.pid}
	nginx, stop, without, err := startNginx(dir, site.instance)
	if err != nil {
		return g, err
	}
	g.Without = without
	if without == "" {
		defer stop()
	}
	var directs, nginxes, gateways []round
	for range gatewayRounds + 1 { // the first warms up
		for _, way := range []struct {
			t    target
			into *[]round
		}{{direct, &directs}, {nginx, &nginxes}, {gateway, &gateways}} {
			if way.t.client == nil {
				continue
			}
			got, err := way.t.load()
			if err != nil {
				return g, err
			}
			*way.into = append(*way.into, got)
		}
	}
	g.Direct, _ = middle(directs)
	g.Nginx, g.NginxCPU = middle(nginxes)
	g.Gateway, g.GatewayCPU = middle(gateways)
	return g, nil
}

// round is what one round of one way gave.
type round struct {
	rate float64       // requests per second
	cpu  time.Duration // of the way, per request
}

// middle are the medians without the first.
func middle(rounds []round) (rate float64, cpu time.Duration) {
	if len(rounds) < 2 {
		return 0, 0
	}
	var rates []float64
	var cpus []time.Duration
	for _, r := range rounds[1:] {
		rates, cpus = append(rates, r.rate), append(cpus, r.cpu)
	}
	slices.Sort(rates)
	slices.Sort(cpus)
	return rates[len(rates)/2], cpus[len(cpus)/2]
}

// target is a way to the instance.
type target struct {
	client *http.Client
	url    string
	key    string
	// pid is the process the way goes through; 0 for none.
	pid int
}

// load asks with all clients for a round.
func (t target) load() (round, error) {
	body := bytes.Repeat([]byte("x"), gatewayBody)
	ctx, cancel := context.WithTimeout(context.Background(), gatewayRound)
	defer cancel()
	var answered atomic.Int64
	var wrong atomic.Pointer[error]
	var wg sync.WaitGroup
	begin, used := time.Now(), t.cpu()
	for range gatewayClients {
		wg.Go(func() {
			for ctx.Err() == nil && wrong.Load() == nil {
				if err := t.ask(body); err != nil {
					wrong.CompareAndSwap(nil, &err)
					return
				}
				answered.Add(1)
			}
		})
	}
	wg.Wait()
	if err := wrong.Load(); err != nil {
		return round{}, fmt.Errorf("%s: %w", t.url, *err)
	}
	n := answered.Load()
	return round{float64(n) / time.Since(begin).Seconds(), (t.cpu() - used) / time.Duration(max(n, 1))}, nil
}

func (t target) cpu() time.Duration {
	if t.pid == 0 {
		return 0
	}
	return cpuTime(t.pid)
}

func (t target) ask(body []byte) error {
	r, err := http.NewRequest(http.MethodPost, t.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if t.key != "" {
		r.Header.Set("Authorization", "Bearer "+t.key)
	}
	resp, err := t.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || n != gatewayBody) {
		err = fmt.Errorf("%s, %d bytes", resp.Status, n)
	}
	return err
}

func plainClient() *http.Client {
	return &http.Client{Transport: &http.Transport{Proxy: nil, MaxIdleConnsPerHost: gatewayClients}}
}

// echoSite is an emulator with the echo server deployed.
type echoSite struct {
	bin, state             string
	client                 *http.Client
	instance, scoring, key string
	pid                    int // of the emulator
}

func (s *echoSite) run(args ...string) ([]byte, error) {
	cmd := exec.Command(s.bin, append(args, "--state", s.state)...)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			out = append(out, exit.Stderr...)
		}
		return nil, fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return out, nil
}

func (s *echoSite) down() error {
	s.client.CloseIdleConnections()
	_, err := s.run("down")
	return err
}

const echoDefinitions = `name: bench
auth_mode: key
---
name: blue
endpoint_name: bench
environment:
  image: bench/echo:1
  inference_config:
    liveness_route: {port: 8080, path: /}
    readiness_route: {port: 8080, path: /}
    scoring_route: {port: 8080, path: /score}
instance_type: Standard_DS3_v2
instance_count: 1
environment_variables: {` + echoEnv + `: "1"}
request_settings: {request_timeout_ms: 60000, max_concurrent_requests_per_instance: 64}
readiness_probe: {initial_delay: 1, period: 1, failure_threshold: 60}
`

func deployEcho(bin, dir string) (*echoSite, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if bin, err = filepath.Abs(bin); err != nil {
		return nil, err
	}
	endpoint, blue, _ := strings.Cut(echoDefinitions, "---\n")
	world := filepath.Join(dir, "world.yaml")
	files := map[string]string{world: "images:\n  bench/echo:1: [" + strconv.Quote(self) + "]\n",
		filepath.Join(dir, "endpoint.yml"): endpoint, filepath.Join(dir, "blue.yml"): blue}
	for path, text := range files {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	s := &echoSite{bin: bin, state: filepath.Join(dir, "state"), client: plainClient()}
	// nginx must reach the instance where the emulator does, so no sandbox.
	if _, err := s.run("up", "-d", "--port", "0", "--runner", "process", "--sandbox", "off", "--world", world,
		"-f", filepath.Join(dir, "endpoint.yml"), "-f", filepath.Join(dir, "blue.yml")); err != nil {
		return s, err
	}
	return s, s.connect()
}

// connect finds what clients need: proxy, roots, the key, and where the
// instance listens.
func (s *echoSite) connect() error {
	raw, err := os.ReadFile(filepath.Join(s.state, "run.json"))
	if err != nil {
		return err
	}
	var access struct {
		Port, PID int
		Bundle    string
	}
	if err := json.Unmarshal(raw, &access); err != nil {
		return err
	}
	pem, err := os.ReadFile(access.Bundle)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	s.pid = access.PID
	s.client = &http.Client{Transport: &http.Transport{
		Proxy:           http.ProxyURL(&url.URL{Scheme: "http", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(access.Port))}),
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: gatewayClients,
	}}
	status, err := s.run("status", "-o", "json")
	if err != nil {
		return err
	}
	var now struct {
		Deployments []struct {
			ID        string
			Instances []struct{ URL string }
		}
	}
	if err := json.Unmarshal(status, &now); err != nil {
		return err
	}
	if len(now.Deployments) != 1 || len(now.Deployments[0].Instances) != 1 {
		return fmt.Errorf("the emulator runs %s", status)
	}
	s.instance = now.Deployments[0].Instances[0].URL
	token, err := s.run("token", "--as", azure.SeedOwnerAppID, "--resource", "https://management.azure.com")
	if err != nil {
		return err
	}
	endpointID, _, _ := strings.Cut(now.Deployments[0].ID, "/deployments/")
	r, err := http.NewRequest(http.MethodPost, "https://management.azure.com"+endpointID+"/listKeys?api-version=2024-04-01", nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	resp, err := s.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var keys struct{ PrimaryKey string }
	if err := json.NewDecoder(resp.Body).Decode(&keys); err != nil || keys.PrimaryKey == "" {
		dump, _ := httputil.DumpResponse(resp, false)
		return fmt.Errorf("the endpoint's keys: %s %w", dump, err)
	}
	s.key, s.scoring = keys.PrimaryKey, "https://bench.eastus.inference.ml.azure.com/score"
	return nil
}
