package amlocal

import (
	"context"
	"net/http"

	"github.com/gorilla/mux"

	"github.com/amlocal/amlocal/entra"
)

// SigningKey is a key by which tokens are signed, or were.
type SigningKey = entra.SigningKey

// RotateKeys makes the next key sign tokens, and lists the keys. The old one is
// published until no token that it signed is valid, or with revoke not a moment
// longer.
func (e *Emulator) RotateKeys(ctx context.Context, revoke bool) ([]SigningKey, error) {
	if err := e.entra.RotateKeys(ctx, revoke); err != nil {
		return nil, err
	}
	return e.entra.SigningKeys(ctx)
}

// adminKeys is the part of the admin API about the keys that sign tokens.
func (e *Emulator) adminKeys(r *mux.Router) {
	r.Methods(http.MethodGet).Path("/_amlocal/keys").HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keys, err := e.entra.SigningKeys(r.Context())
		adminReply(w, http.StatusOK, map[string]any{"value": keys}, err)
	})
	r.Methods(http.MethodPost).Path("/_amlocal/keys/rotate").HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var ask struct{ Revoke bool }
		if !readBody(w, r, &ask) {
			return
		}
		keys, err := e.RotateKeys(r.Context(), ask.Revoke)
		adminReply(w, http.StatusOK, map[string]any{"value": keys}, err)
	})
}
