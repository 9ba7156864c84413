package gateway_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal/gateway"
	"github.com/amlocal/amlocal/internal/covers"
)

const clusterHost = "aks-01234567.eastus.cloudapp.azure.com"

// router is the address of the cluster's router in front of a gateway.
func (w *world) router() string {
	server := httptest.NewServer(w.gateway.Router())
	w.t.Cleanup(server.Close)
	return server.URL
}

// at sends one request to the router.
func at(t *testing.T, base, path, credential, body string) (status int, answer string, header http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = clusterHost
	if credential != "" {
		r.Header.Set("Authorization", "Bearer "+credential)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw), resp.Header
}

func TestRouterLeadsToEndpoints(t *testing.T) {
	covers.R(t, "R-407")
	paths := make(chan string, 10)
	w := start(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths <- r.URL.EscapedPath() + "?" + r.URL.RawQuery + " " + r.Header.Get("Authorization")
		scorer(w, r)
	}))
	base := w.router()
	for path, want := range map[string]string{
		"/api/v1/endpoint/ep/score":       "/score? ",
		"/api/v1/service/EP/score?a=1":    "/score?a=1 ",
		"/api/v1/endpoint/ep/a%2Fb//c":    "/a%2Fb//c? ",
		"/api/v1/endpoint/ep":             "/? ",
		"/api/v1/endpoint/ep/?x=%20":      "/?x=%20 ",
		"/api/v1/endpoint/e%70/v2/models": "/v2/models? ",
	} {
		status, body, header := at(t, base, path, primary, "in")
		if status != http.StatusOK || body != "in" {
			t.Errorf("%s: %d %q", path, status, body)
			continue
		}
		if got := <-paths; got != want {
			t.Errorf("%s: the instance was asked %q, want %q", path, got, want)
		}
		if header.Get("Server") == "azureml-frontdoor" || header.Get("Azureml-Model-Session") != "" {
			t.Errorf("%s: answered as the managed front door: %v", path, header)
		}
	}
	for path, credential := range map[string]string{
		"/score":                       primary,
		"/":                            primary,
		"/api/v1/endpoint/":            primary,
		"/api/v1/endpoint/other/score": primary,
		"/api/v2/endpoint/ep/score":    primary,
	} {
		if status, _, _ := at(t, base, path, credential, ""); status != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, status)
		}
	}
	for _, credential := range []string{"", "wrong", "scorer@https://ml.azure.com"} {
		if status, _, _ := at(t, base, "/api/v1/endpoint/ep/score", credential, ""); status != http.StatusUnauthorized {
			t.Errorf("credential %q: %d, want 401", credential, status)
		}
	}
}

func TestRouterModes(t *testing.T) {
	covers.R(t, "R-406", "R-407", "R-1023", "U-9")
	for mode, want := range map[gateway.AuthMode]map[string]int{
		gateway.AMLToken: {"aml-token": http.StatusOK, primary: http.StatusUnauthorized, "scorer@https://ml.azure.com": http.StatusUnauthorized},
		// Whatever the role: the scorer may score at managed endpoints.
		gateway.AADToken: {"scorer@https://ml.azure.com": http.StatusUnauthorized, "aml-token": http.StatusUnauthorized},
	} {
		w := start(t, func(w *world, _ *gateway.Deps) { w.endpoint.AuthMode = mode }, http.HandlerFunc(scorer))
		base := w.router()
		for credential, status := range want {
			if got, _, _ := at(t, base, "/api/v1/endpoint/ep/score", credential, ""); got != status {
				t.Errorf("%s with %q: %d, want %d", mode, credential, got, status)
			}
		}
	}
}

func TestRouterCodes(t *testing.T) {
	covers.R(t, "R-612", "R-1036")
	answer := func(status int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Ms-Run-Function-Failed", "True")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
	hang := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not see the caller leave
		<-r.Context().Done()
	})
	cut := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	for name, c := range map[string]struct {
		change    func(*world, *gateway.Deps)
		instances []http.Handler
		status    int
		body      string
	}{
		"a script raises":        {nil, []http.Handler{answer(500, "traceback")}, http.StatusBadGateway, "traceback"},
		"a server answers 500":   {func(w *world, _ *gateway.Deps) { w.endpoint.Deployments[0].Script = false }, []http.Handler{answer(500, "own")}, http.StatusInternalServerError, "own"},
		"a status is passed on":  {nil, []http.Handler{answer(418, "own")}, 418, "own"},
		"created is passed on":   {nil, []http.Handler{answer(201, "own")}, 201, "own"},
		"the connection breaks":  {nil, []http.Handler{cut}, http.StatusBadGateway, "The replica broke off the request.\n"},
		"nobody is ready":        {nil, nil, http.StatusServiceUnavailable, "No replica of the deployment can take the request.\n"},
		"it takes too long":      {func(w *world, _ *gateway.Deps) { w.endpoint.Deployments[0].RequestTimeout = 20 * time.Millisecond }, []http.Handler{hang}, http.StatusGatewayTimeout, "The request timed out.\n"},
		"nothing has any weight": {func(w *world, _ *gateway.Deps) { w.endpoint.Traffic = nil }, nil, http.StatusNotFound, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, c.change, c.instances...)
			status, body, header := at(t, w.router(), "/api/v1/endpoint/ep/score", primary, "{}")
			if status != c.status || c.body != "" && body != c.body {
				t.Errorf("%d %q, want %d %q", status, body, c.status, c.body)
			}
			if header.Get("Ms-Azureml-Model-Error-Statuscode") != "" {
				t.Errorf("the managed front door's header: %v", header)
			}
		})
	}
}

// TestRouterTurnsAway: more than the replicas work on and may wait.
func TestRouterTurnsAway(t *testing.T) {
	covers.R(t, "R-612")
	release, busy := make(chan struct{}), make(chan struct{}, 10)
	w := start(t, func(w *world, _ *gateway.Deps) { w.endpoint.Deployments[0].MaxConcurrent = 1 },
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			busy <- struct{}{}
			<-release
			scorer(w, r)
		}))
	base := w.router()
	statuses := make(chan int, 10)
	for range 10 {
		go func() {
			status, _, _ := at(t, base, "/api/v1/endpoint/ep/score", primary, "")
			statuses <- status
		}()
	}
	<-busy
	for range 8 {
		if status := <-statuses; status != http.StatusServiceUnavailable {
			t.Errorf("turned away with %d", status)
		}
	}
	close(release)
	for range 2 {
		if status := <-statuses; status != http.StatusOK {
			t.Errorf("an admitted one got %d", status)
		}
	}
}

func TestRouterSwagger(t *testing.T) {
	w := start(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "long page of a server", http.StatusNotFound)
	}))
	base := w.router()
	if status, body, _ := at(t, base, "/api/v1/endpoint/ep/swagger.json", primary, ""); status != http.StatusNotFound || body != "Swagger not found" {
		t.Errorf("swagger: %d %q", status, body)
	}
	if _, body, _ := at(t, base, "/api/v1/endpoint/ep/score", primary, ""); body != "long page of a server\n" {
		t.Errorf("another path: %q", body)
	}
}

// FuzzRouterPath: whatever the path, only an endpoint's own name leads to it,
// and its instance sees a path.
func FuzzRouterPath(f *testing.F) {
	for _, s := range []string{"/api/v1/endpoint/ep/score", "/api/v1/service/ep", "/api/v1/endpoint/e%2Fp/x", "/api/v1/endpoint/%zz/x", "//api/v1/endpoint/ep/", "/api/v1/endpoint/ep/%2e%2e/x"} {
		f.Add(s)
	}
	paths := make(chan string, 1)
	w := start(f, nil, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { paths <- r.URL.Path }))
	router := w.gateway.Router()
	f.Fuzz(func(t *testing.T, path string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		u, err := r.URL.Parse(path)
		if err != nil || u.Host != "" || !strings.HasPrefix(u.Path, "/") {
			return
		}
		r.URL, r.Host = u, clusterHost
		r.Header.Set("Authorization", "Bearer "+primary)
		answer := httptest.NewRecorder()
		router.ServeHTTP(answer, r)
		select {
		case got := <-paths:
			if !strings.HasPrefix(got, "/") || !strings.HasSuffix(u.Path, got) && got != "/" {
				t.Errorf("%q came to the instance as %q", path, got)
			}
		default:
			if answer.Code != http.StatusNotFound {
				t.Errorf("%q: %d without an instance", path, answer.Code)
			}
		}
	})
}
