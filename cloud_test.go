package amlocal

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"testing"
)

// TestCloud: the metadata of the cloud in its three forms, at the public name
// and at the emulator's own address, and what else that address answers.
func TestCloud(t *testing.T) {
	l := newLab(t, nil)
	here := "https://localhost:" + strconv.Itoa(l.e.Access().Port)
	direct := l.http.Transport.(*http.Transport).Clone()
	direct.Proxy = nil
	t.Cleanup(direct.CloseIdleConnections)
	get := func(client http.RoundTripper, method, target string) (int, any) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		var body any
		_ = json.Unmarshal(raw, &body) // XML is no JSON
		return resp.StatusCode, body
	}
	_, public := get(l.http.Transport, http.MethodGet, "https://management.azure.com/metadata/endpoints?api-version=2022-09-01")
	if doc, _ := public.(map[string]any); doc["name"] != "AzureCloud" || doc["resourceManager"] != "https://management.azure.com/" {
		t.Errorf("%v", public)
	}
	_, own := get(direct, http.MethodGet, here+"/metadata/endpoints?api-version=2022-09-01")
	if doc, _ := own.(map[string]any); doc["name"] != CloudName || doc["resourceManager"] != here || doc["authentication"].(map[string]any)["loginEndpoint"] != here {
		t.Errorf("%v", own)
	}
	if _, list := get(direct, http.MethodGet, here+"/metadata/endpoints?api-version=2019-05-01"); len(list.([]any)) != 1 {
		t.Errorf("%v", list)
	}
	if _, short := get(direct, http.MethodGet, here+"/metadata/endpoints?api-version=2015-01-01"); short.(map[string]any)["portalEndpoint"] == nil {
		t.Errorf("%v", short)
	}
	plain := l.e.Access().URL()
	for _, c := range []struct {
		name, method, target string
		status               int
	}{
		{"no api-version", http.MethodGet, here + "/metadata/endpoints", 400},
		{"to write", http.MethodPut, here + "/metadata/endpoints?api-version=2022-09-01", 405},
		{"ARM without a token", http.MethodGet, here + "/subscriptions?api-version=2022-12-01", 401},
		{"Entra", http.MethodGet, here + "/organizations/v2.0/.well-known/openid-configuration", 200},
		{"Entra, unknown tenant", http.MethodGet, here + "/11111111-1111-1111-1111-111111111111/v2.0/.well-known/openid-configuration", 400},
		{"blobs by path", http.MethodGet, here + "/" + accountOne + "/box/hello.txt", 409},
		{"blobs of an account named as a part", http.MethodGet, here + "/" + accountOne + "/oauth2/token", 409},
		{"in the clear", http.MethodGet, plain + "/organizations/v2.0/.well-known/openid-configuration", 404},
	} {
		status, body := get(direct, c.method, c.target)
		if status != c.status {
			t.Errorf("%s: %d %v, want %d", c.name, status, body, c.status)
		}
	}
}
