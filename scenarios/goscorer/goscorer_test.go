package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sampleDir = "../content/endpoints/online/model-1"

// world is a token endpoint, and a blob store that every host name leads to.
type world struct {
	env    map[string]string
	client *http.Client
	tokens []*http.Request
	deny   bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{}
	msi := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.tokens = append(w.tokens, r)
		if r.Header.Get("secret")+r.Header.Get("X-IDENTITY-HEADER") != "s3cret" {
			rw.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(rw, `{"error":"invalid secret"}`)
			return
		}
		fmt.Fprint(rw, `{"access_token":"the-token","expires_on":"4102444800","token_type":"Bearer"}`)
	}))
	t.Cleanup(msi.Close)
	blob := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Host != "acct.blob.core.windows.net" || r.Header.Get("Authorization") != "Bearer the-token" || r.Header.Get("x-ms-version") < "2017-11-09" {
			http.Error(rw, "unexpected request", http.StatusTeapot)
			return
		}
		if w.deny {
			rw.Header().Set("x-ms-error-code", "AuthorizationPermissionMismatch")
			rw.WriteHeader(http.StatusForbidden)
			fmt.Fprint(rw, `<?xml version="1.0" encoding="utf-8"?><Error><Code>AuthorizationPermissionMismatch</Code><Message>This request is not authorized to perform this operation using this permission.</Message></Error>`)
			return
		}
		fmt.Fprint(rw, "content of "+r.URL.Path)
	}))
	t.Cleanup(blob.Close)
	w.client = &http.Client{Transport: &http.Transport{
		DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, network, blob.Listener.Addr().String())
		},
	}}
	w.env = map[string]string{
		"STORAGE_ACCOUNT_NAME": "acct", "STORAGE_CONTAINER_NAME": "cont", "FILE_NAME": "folder/hello world.txt",
		"MSI_ENDPOINT": msi.URL + "/v1/token/msi/xds", "MSI_SECRET": "s3cret",
		"AZUREML_MODEL_DIR": sampleDir,
	}
	return w
}

func (w *world) getenv(name string) string { return w.env[name] }

func (w *world) start(t *testing.T) (*Model, string, error) {
	t.Helper()
	var out bytes.Buffer
	model, err := start(t.Context(), w.client, w.getenv, log.New(&out, "", 0))
	return model, out.String(), err
}

func TestInitReadsBlobAndModel(t *testing.T) {
	for _, flavour := range []struct {
		name, uai, wantQuery, wantHeader string
		newer                            bool
	}{
		{name: "msi pair, system identity", wantQuery: "resource=https%3A%2F%2Fstorage.azure.com%2F", wantHeader: "secret"},
		{name: "msi pair, user identity", uai: "u1", wantQuery: "clientid=u1&resource=https%3A%2F%2Fstorage.azure.com%2F", wantHeader: "secret"},
		{name: "identity pair", newer: true, uai: "u1", wantQuery: "api-version=2019-08-01&client_id=u1&resource=https%3A%2F%2Fstorage.azure.com%2F", wantHeader: "X-IDENTITY-HEADER"},
	} {
		t.Run(flavour.name, func(t *testing.T) {
			w := newWorld(t)
			w.env["UAI_CLIENT_ID"] = flavour.uai
			if flavour.newer {
				w.env["IDENTITY_ENDPOINT"], w.env["IDENTITY_HEADER"] = w.env["MSI_ENDPOINT"], w.env["MSI_SECRET"]
				delete(w.env, "MSI_ENDPOINT")
				delete(w.env, "MSI_SECRET")
			}
			_, logged, err := w.start(t)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"Token acquired", "Blob contains: content of /cont/folder/hello world.txt", "Model loaded"} {
				if !strings.Contains(logged, want) {
					t.Errorf("log lacks %q:\n%s", want, logged)
				}
			}
			got := w.tokens[0]
			if got.URL.RawQuery != flavour.wantQuery {
				t.Errorf("token query = %s, want %s", got.URL.RawQuery, flavour.wantQuery)
			}
			if got.Header.Get(flavour.wantHeader) != "s3cret" {
				t.Errorf("header %s not sent", flavour.wantHeader)
			}
		})
	}
}

func TestInitFailsInTheServicesWords(t *testing.T) {
	tests := []struct {
		name string
		bend func(*world)
		want string
	}{
		{"blob refused", func(w *world) { w.deny = true }, "403 Forbidden: AuthorizationPermissionMismatch: This request is not authorized"},
		{"wrong secret", func(w *world) { w.env["MSI_SECRET"] = "other" }, `token refused: 401 Unauthorized: {"error":"invalid secret"}`},
		{"no identity", func(w *world) { delete(w.env, "MSI_ENDPOINT") }, "no managed identity"},
		{"no settings", func(w *world) { delete(w.env, "FILE_NAME"); delete(w.env, "STORAGE_ACCOUNT_NAME") }, "not set: STORAGE_ACCOUNT_NAME, FILE_NAME"},
		{"no model", func(w *world) { w.env["AZUREML_MODEL_DIR"] = "nowhere" }, "coefficients.json"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.bend(w)
			_, logged, err := w.start(t)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error = %v, want it to contain %q", err, tt.want)
			}
			if strings.Contains(logged, "Model loaded") {
				t.Error("the model was loaded all the same")
			}
		})
	}
}

func TestRunEndsWithAnErrorWhenInitFails(t *testing.T) {
	var out bytes.Buffer
	err := run(t.Context(), nil, func(string) string { return "" }, &out)
	if err == nil || !strings.Contains(err.Error(), "init failed: not set") {
		t.Fatalf("run = %v", err)
	}
}

func TestScore(t *testing.T) {
	model, err := LoadModel(sampleDir)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(newHandler(model, log.New(io.Discard, "", 0)))
	defer server.Close()
	sample, err := os.ReadFile(filepath.Join(sampleDir, "sample-request.json"))
	if err != nil {
		t.Fatal(err)
	}

	resp, err := http.Post(server.URL+"/score", "application/json", bytes.NewReader(sample))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got []float64
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	// What the pickle of the same training run predicts.
	want := []float64{80.56425003955925, 72.82796033152627}
	if len(got) != len(want) || math.Abs(got[0]-want[0]) > 1e-9 || math.Abs(got[1]-want[1]) > 1e-9 {
		t.Errorf("score = %v, want %v", got, want)
	}

	for _, path := range []string{"/health/live", "/health/ready", "/"} {
		resp, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("GET %s = %d", path, resp.StatusCode)
		}
	}
	for _, bad := range []string{`{"data": [[1, 2]]}`, `{"data": "x"}`, `{`} {
		resp, err := http.Post(server.URL+"/score", "application/json", strings.NewReader(bad))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("POST /score %s = %d, want 400", bad, resp.StatusCode)
		}
	}
}

func TestListenAddress(t *testing.T) {
	for _, tt := range []struct{ given, want string }{{"", ":8080"}, {"40123", "127.0.0.1:40123"}, {"0", ""}, {"many", ""}, {"70000", ""}} {
		got, err := listenAddress(8080, func(name string) string {
			if name != "AMLOCAL_PORT_8080" {
				t.Errorf("asked for %s", name)
			}
			return tt.given
		})
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("AMLOCAL_PORT_8080=%q: %q, %v", tt.given, got, err)
		}
	}
}
