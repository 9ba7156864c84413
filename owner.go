package amlocal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/amlocal/amlocal/arm/storage"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/blobfake"
	"github.com/amlocal/amlocal/store"
)

// ownerClient sends requests to our own handlers, without a network, as the
// seeded owner.
type ownerClient struct {
	emulator *Emulator
	owner    azure.Principal
	token    string
}

func (e *Emulator) ownerClient(ctx context.Context) (*ownerClient, error) {
	var owner azure.Principal
	err := e.store.View(ctx, func(tx store.ReadTx) error {
		var ok bool
		if owner, ok = e.entra.Principal(tx, azure.SeedOwnerObjectID); !ok {
			return fmt.Errorf("the seeded owner does not exist any more")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	token, err := e.entra.ManagedIdentityToken(ctx, owner, "https://management.azure.com")
	if err != nil {
		return nil, err
	}
	return &ownerClient{emulator: e, owner: owner, token: token.Raw}, nil
}

// put sends an ARM PUT and decodes the answer.
func (c *ownerClient) put(ctx context.Context, id string, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return c.arm(ctx, http.MethodPut, id, raw, into)
}

// get reads a resource.
func (c *ownerClient) get(ctx context.Context, id string, into any) error {
	return c.arm(ctx, http.MethodGet, id, nil, into)
}

func (c *ownerClient) arm(ctx context.Context, method, id string, body []byte, into any) error {
	r, err := http.NewRequestWithContext(ctx, method, "https://management.azure.com"+id+"?api-version=2022-04-01", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	r.Header.Set("Content-Type", "application/json")
	answer, err := exchange(c.emulator.arm, r)
	if err != nil || into == nil {
		return err
	}
	return json.Unmarshal(answer, into)
}

// graph sends a request to Microsoft Graph and decodes the answer.
func (c *ownerClient) graph(ctx context.Context, method, path string, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, "https://graph.microsoft.com/v1.0"+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	token, err := c.emulator.entra.ManagedIdentityToken(ctx, c.owner, "https://graph.microsoft.com")
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token.Raw)
	r.Header.Set("Content-Type", "application/json")
	answer, err := exchange(c.emulator.graph, r)
	if err != nil || into == nil {
		return err
	}
	return json.Unmarshal(answer, into)
}

// putBlob uploads with a SAS of the account's own key, as a setup script would.
func (c *ownerClient) putBlob(ctx context.Context, account storage.Account, container, name string, data []byte) error {
	now := c.emulator.config.Clock.Now()
	signer := blobfake.Account{Name: account.Name, ResourceID: account.ResourceID, Keys: account.Keys}
	sas := blobfake.SAS(signer, container, name, "cw", now.Add(-time.Minute), now.Add(time.Hour))
	u := url.URL{Scheme: "https", Host: account.Name + ".blob.core.windows.net", Path: "/" + container + "/" + name, RawQuery: sas}
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, u.String(), bytes.NewReader(data))
	if err != nil {
		return err
	}
	r.Header.Set("x-ms-version", "2021-12-02")
	r.Header.Set("x-ms-blob-type", "BlockBlob")
	_, err = exchange(c.emulator.blobs, r)
	return err
}

// exchange runs a handler on a client request and answers the body; an error
// status is an error that says what the body said.
func exchange(h http.Handler, r *http.Request) ([]byte, error) {
	r.RequestURI = r.URL.RequestURI()
	r.Host = r.URL.Host
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := &memoryWriter{header: http.Header{}}
	h.ServeHTTP(w, r)
	if w.status >= 300 {
		return nil, fmt.Errorf("%s %s: %d: %s", r.Method, r.URL.Path, w.status, bytes.TrimSpace(w.body.Bytes()))
	}
	return w.body.Bytes(), nil
}

// memoryWriter is a ResponseWriter into memory.
type memoryWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

var _ io.Writer = (*memoryWriter)(nil)

func (w *memoryWriter) Header() http.Header { return w.header }

func (w *memoryWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *memoryWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}
