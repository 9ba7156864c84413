package entra

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

func TestManagedIdentityToken(t *testing.T) {
	covers.R(t, "R-524")
	w := newWorld(t)
	for _, c := range []struct {
		p        azure.Principal
		resource string
		mirid    string
	}{
		{systemA, storageURI, "/subscriptions/s/resourcegroups/g/providers/Microsoft.MachineLearningServices/workspaces/w/onlineEndpoints/ep"},
		{userB, storageURI + "/", "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/b"},
		{userB, "https://MyVault.vault.azure.net", "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/b"},
	} {
		token, err := w.ManagedIdentityToken(t.Context(), c.p, c.resource)
		if err != nil {
			t.Fatal(err)
		}
		if token.Resource != c.resource || token.ClientID != c.p.AppID || token.Expires != epoch.Add(24*time.Hour) {
			t.Errorf("%+v", token)
		}
		claims := part(t, token.Raw, 1)
		for k, v := range map[string]any{
			"aud": c.resource, "appid": c.p.AppID, "appidacr": "2", "oid": c.p.ObjectID, "sub": c.p.ObjectID, "tid": tid,
			"idtyp": "app", "xms_mirid": c.mirid,
			"iat": float64(epoch.Unix() - 300), "nbf": float64(epoch.Unix() - 300), "exp": float64(epoch.Unix() + 86400),
		} {
			if claims[k] != v {
				t.Errorf("%s = %v, want %v", k, claims[k], v)
			}
		}
	}
}

func TestManagedIdentityTokenIsReusedForHalfItsLife(t *testing.T) {
	w := newWorld(t)
	ask := func(p azure.Principal, resource string) string {
		t.Helper()
		token, err := w.ManagedIdentityToken(t.Context(), p, resource)
		if err != nil {
			t.Fatal(err)
		}
		return token.Raw
	}
	first := ask(systemA, storageURI)
	if ask(systemA, storageURI+"/") == first || ask(userB, storageURI) == first {
		t.Error("another audience or identity must have its own token")
	}
	w.clock.Advance(12*time.Hour - time.Second)
	if ask(systemA, storageURI) != first {
		t.Error("more than half its life is left: the same token")
	}
	w.clock.Advance(time.Second)
	if ask(systemA, storageURI) == first {
		t.Error("half its life is over: a new token")
	}
	w.clock.Advance(-48 * time.Hour)
	if _, err := w.Verify(t.Context(), ask(systemA, storageURI), storageAudiences); err != nil {
		t.Errorf("after the clock went back: %v", err)
	}
}

func TestManagedIdentityTokensAskedTogetherAreOne(t *testing.T) {
	w := newWorld(t)
	raws := make([]string, 16)
	var group sync.WaitGroup
	for i := range raws {
		group.Go(func() {
			if token, err := w.ManagedIdentityToken(t.Context(), systemA, storageURI); err == nil {
				raws[i] = token.Raw
			}
		})
	}
	group.Wait()
	for _, raw := range raws {
		if raw == "" || raw != raws[0] {
			t.Fatal("not all got the same token")
		}
	}
}

func TestManagedIdentityTokenRefusals(t *testing.T) {
	covers.R(t, "R-1024")
	w := newWorld(t)
	if _, err := w.ManagedIdentityToken(t.Context(), userB, storageURI); err != nil {
		t.Fatal(err)
	}
	w.update(t, func(tx store.Tx) error { return w.DeletePrincipal(tx, strings.ToUpper(userB.ObjectID)) })
	_, err := w.ManagedIdentityToken(t.Context(), userB, storageURI)
	if !errors.Is(err, azure.ErrTokenPrincipal) {
		t.Errorf("a deleted identity's cached token was handed out: %v", err)
	}
	for _, resource := range []string{
		"", "/", "https://nope.example", "http://storage.azure.com", "storage.azure.com", storageURI + "//", storageURI + "/.default",
		"https://user@a.blob.core.windows.net", "https://a.blob.core.windows.net/x", "https://a.blob.core.windows.net:443",
		"https://.blob.core.windows.net", "https://blob.core.windows.net", "https://a.blob.core.windows.net?x", "https://evil.example#.vault.azure.net",
	} {
		_, err := w.ManagedIdentityToken(t.Context(), systemA, resource)
		var typed *httpx.Error
		if !errors.As(err, &typed) || typed.Code != "invalid_resource" || !strings.Contains(typed.Message, "AADSTS500011") {
			t.Errorf("%q: %v", resource, err)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache[int, int](8)
	for i := range 1000 {
		c.put(i, i)
		if v, ok := c.get(0); !ok || v != 0 {
			t.Fatalf("what is used was forgotten after %d", i)
		}
	}
	if n := len(c.young) + len(c.old); n > 8 {
		t.Errorf("%d entries", n)
	}
	c.drop(func(k int) bool { return k == 0 })
	if _, ok := c.get(0); ok {
		t.Error("dropped and still there")
	}
}
