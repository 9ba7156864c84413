package amlocal

import (
	"bytes"
	"context"
	"net/http"

	"github.com/amlocal/amlocal/azure"
)

// armFront sends what a template deployment holds to our own control plane, as
// the deployment's caller.
type armFront struct{ emulator *Emulator }

func (f armFront) Do(ctx context.Context, as azure.Principal, method, target string, body []byte) (int, http.Header, []byte, error) {
	token, err := f.emulator.entra.ManagedIdentityToken(ctx, as, "https://management.azure.com")
	if err != nil {
		return 0, nil, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, "https://management.azure.com"+target, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token.Raw)
	r.Header.Set("Content-Type", "application/json")
	r.RequestURI, r.Host = r.URL.RequestURI(), r.URL.Host
	w := &memoryWriter{header: http.Header{}}
	f.emulator.arm.ServeHTTP(w, r)
	return w.status, w.header, w.body.Bytes(), nil
}
