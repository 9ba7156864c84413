package gateway_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/amlocal/amlocal/gateway"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner"
)

func named(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, name) })
}

func TestRouting(t *testing.T) {
	covers.R(t, "R-601", "R-610")
	noRoute := "No valid deployments to route to. Please check that the endpoint has at least one deployment with positive weight values or use a deployment specific header to route. " +
		"[https://docs.microsoft.com/en-us/azure/machine-learning/how-to-safely-rollout-managed-endpoints#deploy-a-new-model-but-send-it-no-traffic-yet]\n" + helpSuffix
	for _, tc := range []struct {
		name    string
		traffic map[string]int
		header  string
		draw    int
		want    int
		body    string
	}{
		{"all to blue", map[string]int{"blue": 100}, "", 99, 200, "blue"},
		{"keys in other case", map[string]int{"BLUE": 0, "gREEN": 100}, "", 0, 200, "green"},
		{"split, low", map[string]int{"blue": 90, "green": 10}, "", 89, 200, "blue"},
		{"split, high", map[string]int{"blue": 90, "green": 10}, "", 90, 200, "green"},
		{"a missing deployment's share goes to the others", map[string]int{"gone": 90, "green": 10}, "", 9, 200, "green"},
		{"header beats traffic", map[string]int{"blue": 100}, "green", 0, 200, "green"},
		{"header in other case", map[string]int{"blue": 100}, "GREEN", 0, 200, "green"},
		{"header without traffic", nil, "blue", 0, 200, "blue"},
		{"unknown name", map[string]int{"blue": 100}, "red", 0, 404, "Specified deployment could not be found\n" + helpSuffix},
		{"no traffic", nil, "", 0, 404, noRoute},
		{"zero traffic", map[string]int{"blue": 0, "green": 0}, "", 0, 404, noRoute},
		{"negative traffic", map[string]int{"blue": -5}, "", 0, 404, noRoute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := start(t, func(w *world, d *gateway.Deps) {
				w.endpoint.Traffic = tc.traffic
				w.endpoint.Deployments = []gateway.Deployment{{ID: "d-blue", Name: "blue"}, {ID: "d-green", Name: "green"}}
				w.setTargets("d-green", instance(t, named("green")))
				d.Pick = func(n int) int {
					if tc.draw >= n {
						t.Errorf("drawn below %d, expected more than %d", n, tc.draw)
					}
					return tc.draw
				}
			}, named("blue"))
			r := w.request("POST", "/score", "")
			if tc.header != "" {
				r.Header.Set("azureml-model-deployment", tc.header)
			}
			got := w.send(r)
			if got.StatusCode != tc.want || got.body != tc.body {
				t.Errorf("%d %q, want %d %q", got.StatusCode, got.body, tc.want, tc.body)
			}
			if tc.want == 200 && got.Header.Get("azureml-model-deployment") != tc.body {
				t.Errorf("azureml-model-deployment: %q", got.Header.Get("azureml-model-deployment"))
			}
			if got.Header.Get("azureml-model-session") != "" {
				t.Error("a custom container has a session header")
			}
		})
	}
}

func TestEndpointWithoutDeployments(t *testing.T) {
	covers.R(t, "R-601")
	w := start(t, func(w *world, _ *gateway.Deps) { w.endpoint.Deployments, w.endpoint.Traffic = nil, nil })
	if got := w.score(""); got.StatusCode != 404 {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	r := w.request("POST", "/score", "")
	r.Host = "other.eastus.inference.ml.azure.com"
	if got := w.send(r); got.StatusCode != 404 {
		t.Errorf("unknown endpoint: %d %s", got.StatusCode, got.body)
	}
}

func TestWeightsAreHonoured(t *testing.T) {
	w := start(t, func(w *world, _ *gateway.Deps) {
		w.endpoint.Traffic = map[string]int{"blue": 75, "green": 25}
		w.endpoint.Deployments = append(w.endpoint.Deployments, gateway.Deployment{ID: "d-green", Name: "green"})
		w.setTargets("d-green", instance(t, named("green")))
	}, named("blue"))
	count := map[string]int{}
	for range 400 {
		count[w.score("").body]++
	}
	// 300 expected, standard deviation 8.7: false alarm below 1 in 10^11.
	if count["blue"] < 240 || count["blue"] > 360 || count["blue"]+count["green"] != 400 {
		t.Errorf("of 400 requests at 75:25: %v", count)
	}
}

func TestInstancesTakeTurns(t *testing.T) {
	w := start(t, nil, named("0"), named("1"), named("2"))
	count := map[string]int{}
	for range 30 {
		count[w.score("").body]++
	}
	for i := range 3 {
		if got := count[fmt.Sprint(i)]; got != 10 {
			t.Errorf("instance %d answered %d of 30", i, got)
		}
	}
	w.setTargets("d-blue", runner.Target{Instance: "x", URL: "http://127.0.0.1:1"})
	if got := w.score(""); got.StatusCode != 424 {
		t.Errorf("refused connection: %d", got.StatusCode)
	}
}
