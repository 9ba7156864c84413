package gateway_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/gateway"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/express"
	"github.com/amlocal/amlocal/runner"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	host       = "ep.eastus.inference.ml.azure.com"
	endpointID = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w/onlineEndpoints/ep"
	primary    = "PrimaryKeyPrimaryKeyPrimaryKey12"
	secondary  = "SecondaryKeySecondaryKeySecond12"
)

// world is everything around a gateway.
type world struct {
	*httptest.Server
	t        testing.TB
	audit    *audit.Log
	gateway  *gateway.Service
	endpoint gateway.Endpoint

	mu      sync.Mutex
	targets map[string][]runner.Target
}

func (w *world) Endpoint(_ context.Context, name string) (gateway.Endpoint, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.endpoint, name == host
}

func (w *world) Behind(_ context.Context, router, name string) (gateway.Endpoint, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.endpoint, router == clusterHost && strings.EqualFold(name, w.endpoint.Name)
}

func (w *world) Targets(id string) []runner.Target {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.targets[id]
}

func (w *world) setTargets(id string, targets ...runner.Target) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.targets[id] = targets
}

// setTimeout changes how long the live deployment's requests may take.
func (w *world) setTimeout(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	live := w.endpoint.Deployments[0]
	live.RequestTimeout = d
	w.endpoint.Deployments = []gateway.Deployment{live}
}

// Verify knows two callers' tokens: each is "<name>@<audience>".
func (w *world) Verify(_ context.Context, raw string, audiences []string) (azure.Claims, error) {
	name, audience, _ := strings.Cut(raw, "@")
	if name != "scorer" && name != "stranger" {
		return azure.Claims{}, azure.ErrTokenMalformed
	}
	for _, a := range audiences {
		if a == audience {
			return azure.Claims{Principal: azure.Principal{ObjectID: name + "-oid", Name: name}}, nil
		}
	}
	return azure.Claims{}, azure.ErrTokenAudience
}

func (w *world) Decide(_ context.Context, who azure.Principal, check azure.Check) azure.Decision {
	want := azure.Check{Action: "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action", Scope: endpointID}
	if check != want {
		w.t.Errorf("RBAC was asked %+v, want %+v", check, want)
	}
	return azure.Decision{Allowed: who.Name == "scorer", Principal: who, Check: check}
}

func (w *world) VerifyAMLToken(_ context.Context, endpoint, raw string) error {
	if endpoint == endpointID && raw == "aml-token" {
		return nil
	}
	return errors.New("not a token of this endpoint")
}

// start makes a gateway with one deployment "blue" that takes all traffic and
// is served by instances. Nothing runs out but what a test makes run out.
func start(t testing.TB, change func(*world, *gateway.Deps), instances ...http.Handler) *world {
	t.Helper()
	w := &world{t: t, audit: audit.NewLog(1000, nil), targets: map[string][]runner.Target{}}
	w.endpoint = gateway.Endpoint{
		ID: endpointID, Name: "ep", AuthMode: gateway.Key, Keys: [2]string{primary, secondary},
		Traffic:     map[string]int{"blue": 100},
		Deployments: []gateway.Deployment{{ID: "d-blue", Name: "blue", Script: true, Instances: max(len(instances), 1), MaxConcurrent: 100, RequestTimeout: time.Minute}},
	}
	var targets []runner.Target
	for _, h := range instances {
		targets = append(targets, instance(t, h))
	}
	w.setTargets("d-blue", targets...)
	deps := gateway.Deps{
		Endpoints: w, Targets: w, Tokens: w, Authorizer: w, AMLTokens: w, Clock: clock.System{}, Audit: w.audit,
		ErrorLog: log.New(io.Discard, "", 0),
	}
	if change != nil {
		change(w, &deps)
	}
	g, err := gateway.New(deps)
	if err != nil {
		t.Fatal(err)
	}
	g.KeepConnections(time.Hour)
	w.gateway = g
	w.Server = httptest.NewUnstartedServer(g)
	w.Config.ErrorLog = deps.ErrorLog
	ln, front := w.Listener, &express.Server{Handler: g, Logf: deps.ErrorLog.Printf}
	w.Listener = addressed{express.NewFeed(), ln}
	go serveExpress(context.WithValue(context.Background(), http.ServerContextKey, w.Config), ln, front, w.Listener.(addressed).Feed)
	w.Start()
	t.Cleanup(func() {
		w.CloseClientConnections()
		w.Close()
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		front.Close(ended)
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// addressed is a feed with the address of the listener it stands behind.
type addressed struct {
	*express.Feed
	ln net.Listener
}

func (a addressed) Addr() net.Addr { return a.ln.Addr() }

func (a addressed) Close() error { return errors.Join(a.Feed.Close(), a.ln.Close()) }

// serveExpress has connections served as the emulator does: by the express
// server as long as it can, then by who accepts from the feed.
func serveExpress(ctx context.Context, ln net.Listener, server *express.Server, rest *express.Feed) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			if left := server.Serve(ctx, c, nil); left != nil {
				rest.Push(left)
			}
		}()
	}
}

func instance(t testing.TB, h http.Handler) runner.Target {
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(server.Close)
	return runner.Target{Instance: server.URL, URL: server.URL}
}

// scorer answers like the inference server.
func scorer(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("X-Ms-Server-Version", "azmlinfsrv/1.5.1")
	w.Header().Set("X-Request-Id", r.Header.Get("X-Request-Id"))
	w.Header().Set("Server", "gunicorn")
	_, _ = w.Write(body)
}

// request is an authorized POST, before send.
func (w *world) request(method, path, body string) *http.Request {
	r, err := http.NewRequest(method, w.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Host = host
	r.Header.Set("Authorization", "Bearer "+primary)
	r.Header.Set("Content-Type", "application/json")
	return r
}

type answer struct {
	*http.Response
	body string
}

func (w *world) send(r *http.Request) answer {
	w.t.Helper()
	resp, err := w.Client().Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{resp, string(body)}
}

func (w *world) score(body string) answer {
	w.t.Helper()
	return w.send(w.request("POST", "/score", body))
}

const helpSuffix = "Please check this guide to understand why this error code might have been returned \n" +
	"https://docs.microsoft.com/en-us/azure/machine-learning/how-to-troubleshoot-online-endpoints#http-status-codes\n"
