package gateway_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/amlocal/amlocal/gateway"
	"github.com/amlocal/amlocal/runner"
)

// TestDialContext: instances are reached by the back end's own way, whatever
// their address says.
func TestDialContext(t *testing.T) {
	var dialed atomic.Int32
	hidden := instance(t, http.HandlerFunc(scorer))
	w := start(t, func(w *world, d *gateway.Deps) {
		w.setTargets("d-blue", runner.Target{Instance: "i", URL: "http://192.0.2.1:9"})
		d.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			dialed.Add(1)
			if address != "192.0.2.1:9" {
				t.Errorf("dialed %s", address)
			}
			return (&net.Dialer{}).DialContext(ctx, network, strings.TrimPrefix(hidden.URL, "http://"))
		}
	})
	for range 3 {
		if got := w.score("{}"); got.StatusCode != 200 || got.body != "{}" {
			t.Fatalf("%d %q", got.StatusCode, got.body)
		}
	}
	if n := dialed.Load(); n != 1 {
		t.Errorf("dialed %d times for three requests in a row", n)
	}
}
