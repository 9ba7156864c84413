package amlocal

import (
	"net/http"
	"net/url"
	"testing"
)

// TestPlainHTTPIsRefused proves that a client which would send its token in the
// clear does not get away with it.
func TestPlainHTTPIsRefused(t *testing.T) {
	e := start(t, nil)
	proxy, err := url.Parse(e.Access().URL())
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}}
	defer client.CloseIdleConnections()
	for _, u := range []string{
		"http://management.azure.com/subscriptions?api-version=2022-12-01",
		"http://login.microsoftonline.com/common/discovery/keys",
		"http://graph.microsoft.com/v1.0/me",
	} {
		resp, err := client.Get(u)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s answers %s, want 403", u, resp.Status)
		}
	}
}
