package entra

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/store"
)

var storageAudiences = []string{storageURI, storageURI + "/", "e406a681-f3d4-42a8-90b6-c2b029497af1"}

// forge signs changed claims with our own key, or as sign says.
func (w world) forge(t testing.TB, change func(jwt.MapClaims), sign func(*jwt.Token) (string, error)) string {
	t.Helper()
	claims := jwt.MapClaims(part(t, w.mint(t, systemA, storageURI), 1))
	if change != nil {
		change(claims)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	keys, err := w.keys.wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	token.Header["kid"] = keys[0].kid
	if sign == nil {
		sign = func(token *jwt.Token) (string, error) { return token.SignedString(keys[0].private) }
	}
	raw, err := sign(token)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// altered flips one bit of the signature's last byte's unused bits or of its
// first character: both must be noticed.
func altered(raw string, last bool) string {
	b := []byte(raw)
	i := strings.LastIndexByte(raw, '.') + 1
	if last {
		i = len(b) - 1
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	b[i] = alphabet[strings.IndexByte(alphabet, b[i])^1]
	return string(b)
}

func TestVerifyRefuses(t *testing.T) {
	covers.R(t, "R-1014", "R-1015", "R-1016")
	w := newWorld(t)
	stranger := newWorld(t, ownKeys)
	good := w.mint(t, systemA, storageURI)
	keys, _ := w.keys.wait(t.Context())
	set := func(name string, value any) func(jwt.MapClaims) {
		return func(c jwt.MapClaims) { c[name] = value }
	}
	for _, c := range []struct {
		name, raw string
		want      error
	}{
		{"empty", "", azure.ErrTokenMalformed},
		{"text", "not a token", azure.ErrTokenMalformed},
		{"two parts", "a.b", azure.ErrTokenMalformed},
		{"not base64", "!.!.!", azure.ErrTokenMalformed},
		{"endless", good + strings.Repeat("A", maxToken), azure.ErrTokenMalformed},
		{"aud is a list", w.forge(t, set("aud", []string{storageURI}), nil), azure.ErrTokenMalformed},
		{"no oid", w.forge(t, func(c jwt.MapClaims) { delete(c, "oid") }, nil), azure.ErrTokenMalformed},
		{"no exp", w.forge(t, func(c jwt.MapClaims) { delete(c, "exp") }, nil), azure.ErrTokenMalformed},
		{"signature altered", altered(good, false), azure.ErrTokenSignature},
		{"unused bits altered", altered(good, true), azure.ErrTokenMalformed},
		{"payload of another", swapPayload(good, w.mint(t, userB, storageURI)), azure.ErrTokenSignature},
		{"another emulator's key", stranger.mint(t, systemA, storageURI), azure.ErrTokenSignature},
		{"unknown kid", w.forge(t, nil, func(token *jwt.Token) (string, error) {
			token.Header["kid"] = "AAAA"
			return token.SignedString(keys[0].private)
		}), azure.ErrTokenSignature},
		{"no kid", w.forge(t, nil, func(token *jwt.Token) (string, error) {
			delete(token.Header, "kid")
			return token.SignedString(keys[0].private)
		}), azure.ErrTokenSignature},
		{"wrong key for the kid", w.forge(t, nil, func(token *jwt.Token) (string, error) { return token.SignedString(keys[1].private) }), azure.ErrTokenSignature},
		{"alg none", w.forge(t, nil, func(token *jwt.Token) (string, error) {
			token.Method = jwt.SigningMethodNone
			token.Header["alg"] = "none"
			return token.SignedString(jwt.UnsafeAllowNoneSignatureType)
		}), azure.ErrTokenSignature},
		{"HS256 with the public key", w.forge(t, nil, func(token *jwt.Token) (string, error) {
			token.Method = jwt.SigningMethodHS256
			token.Header["alg"] = "HS256"
			return token.SignedString(keys[0].cert.RawSubjectPublicKeyInfo)
		}), azure.ErrTokenSignature},
		{"RS512", w.forge(t, nil, func(token *jwt.Token) (string, error) {
			token.Method = jwt.SigningMethodRS512
			token.Header["alg"] = "RS512"
			return token.SignedString(keys[0].private)
		}), azure.ErrTokenSignature},
		{"foreign issuer", w.forge(t, set("iss", "https://sts.windows.net/99999999-0000-0000-0000-000000000000/"), nil), azure.ErrTokenIssuer},
		{"issuer without its slash", w.forge(t, set("iss", "https://sts.windows.net/"+tid), nil), azure.ErrTokenIssuer},
		{"foreign tid", w.forge(t, set("tid", "99999999-0000-0000-0000-000000000000"), nil), azure.ErrTokenIssuer},
		{"expired", w.forge(t, set("exp", epoch.Unix()-1), nil), azure.ErrTokenExpired},
		{"not yet", w.forge(t, set("nbf", epoch.Unix()+1), nil), azure.ErrTokenNotYetValid},
		{"expired before another audience", w.forge(t, func(c jwt.MapClaims) { c["exp"] = epoch.Unix() - 1; c["aud"] = armURI }, nil), azure.ErrTokenExpired},
		{"another audience", w.mint(t, systemA, armURI), azure.ErrTokenAudience},
		{"two slashes", w.forge(t, set("aud", storageURI+"//"), nil), azure.ErrTokenAudience},
		{"prefix of an audience", w.forge(t, set("aud", "https://storage"), nil), azure.ErrTokenAudience},
	} {
		t.Run(c.name, func(t *testing.T) {
			claims, err := w.Verify(t.Context(), c.raw, storageAudiences)
			if !errors.Is(err, c.want) || claims != (azure.Claims{}) {
				t.Errorf("got %+v, %v; want %v", claims, err, c.want)
			}
		})
	}
}

// swapPayload puts the second token's claims between the first's header and
// signature.
func swapPayload(a, b string) string {
	pa, pb := strings.Split(a, "."), strings.Split(b, ".")
	return pa[0] + "." + pb[1] + "." + pa[2]
}

func TestVerifyAccepts(t *testing.T) {
	covers.R(t, "R-524")
	w := newWorld(t)
	for name, raw := range map[string]string{
		"as asked":    w.mint(t, systemA, storageURI),
		"slash":       w.mint(t, systemA, storageURI+"/"),
		"letter case": w.mint(t, systemA, "https://Storage.Azure.com"),
		"guid":        w.mint(t, systemA, "e406a681-f3d4-42a8-90b6-c2b029497af1"),
		"v2 issuer": w.forge(t, func(c jwt.MapClaims) {
			c["iss"] = "https://login.microsoftonline.com/" + tid + "/v2.0"
		}, nil),
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 { // the second time from the cache
				claims, err := w.Verify(t.Context(), raw, storageAudiences)
				if err != nil {
					t.Fatal(err)
				}
				if claims.Principal != systemA || claims.Expires != epoch.Add(time.Hour) || claims.NotBefore != epoch.Add(-5*time.Minute) {
					t.Errorf("%+v", claims)
				}
			}
		})
	}
}

func TestVerifyChecksARememberedTokenAgain(t *testing.T) {
	covers.R(t, "R-1015")
	w := newWorld(t)
	raw := w.mint(t, systemA, storageURI)
	verify := func(audience string) error {
		_, err := w.Verify(t.Context(), raw, []string{audience})
		return err
	}
	if err := verify(storageURI); err != nil {
		t.Fatal(err)
	}
	if err := verify(armURI); !errors.Is(err, azure.ErrTokenAudience) {
		t.Errorf("other audience: %v", err)
	}
	w.clock.Advance(time.Hour)
	if err := verify(storageURI); err != nil {
		t.Errorf("in its last second: %v", err)
	}
	w.clock.Advance(time.Second)
	if err := verify(storageURI); !errors.Is(err, azure.ErrTokenExpired) {
		t.Errorf("expired: %v", err)
	}
}

func TestVerifyNamesThePrincipal(t *testing.T) {
	covers.R(t, "R-1024")
	w := newWorld(t)
	raw := w.mint(t, userB, storageURI)
	renamed := userB
	renamed.Name = "renamed"
	w.update(t, func(tx store.Tx) error { return w.PutPrincipal(tx, renamed) })
	if claims, err := w.Verify(t.Context(), raw, storageAudiences); err != nil || claims.Principal != renamed {
		t.Errorf("the directory's: %+v, %v", claims, err)
	}
	w.update(t, func(tx store.Tx) error { return w.DeletePrincipal(tx, userB.ObjectID) })
	claims, err := w.Verify(t.Context(), raw, storageAudiences)
	want := userB
	want.Name, want.ResourceID = "", strings.Replace(userB.ResourceID, "resourceGroups", "resourcegroups", 1)
	if err != nil || claims.Principal != want {
		t.Errorf("after deletion: %+v, %v; want %+v", claims.Principal, err, want)
	}
	owner := azure.Principal{ObjectID: "88888888-8888-8888-8888-888888888888", TenantID: tid, Type: azure.User, Name: "ann@contoso.example"}
	user := w.mint(t, owner, storageURI)
	if claims, err := w.Verify(t.Context(), user, storageAudiences); err != nil || claims.Principal != owner {
		t.Errorf("user: %+v, %v", claims, err)
	}
}

func TestSabotage(t *testing.T) {
	w := newWorld(t)
	none := w.forge(t, nil, func(token *jwt.Token) (string, error) {
		token.Method, token.Header["alg"] = jwt.SigningMethodNone, "none"
		return token.SignedString(jwt.UnsafeAllowNoneSignatureType)
	})
	for _, c := range []struct {
		name     string
		sabotage Sabotage
		raw      string
	}{
		{"no signature check", Sabotage{NoSignatureCheck: true}, none},
		{"no audience check", Sabotage{NoAudienceCheck: true}, w.mint(t, systemA, armURI)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := w.Verify(t.Context(), c.raw, storageAudiences); err == nil {
				t.Fatal("accepted without sabotage")
			}
			broken := &Service{deps: w.deps, keys: w.keys, verified: newCache[[32]byte, verifiedToken](2)}
			broken.deps.Sabotage = c.sabotage
			if _, err := broken.Verify(t.Context(), c.raw, storageAudiences); err != nil {
				t.Errorf("the switch does nothing: %v", err)
			}
		})
	}
}

// FuzzVerify: no input makes the verifier panic, and none it accepts differs
// from what we signed.
func FuzzVerify(f *testing.F) {
	w := newWorld(f)
	good := w.mint(f, systemA, storageURI)
	for _, seed := range []string{good, altered(good, false), "", "..", "a.b.c", "e30.e30.", good + "=", good[:len(good)-1], " " + good} {
		f.Add(seed)
	}
	signed := strings.Split(good, ".")
	f.Fuzz(func(t *testing.T, raw string) {
		claims, err := w.Verify(context.Background(), raw, storageAudiences)
		if err == nil && raw != good {
			t.Errorf("accepted %q with %+v", raw, claims)
		}
		// The same bytes as claims, under a good header and signature.
		bent := signed[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(raw)) + "." + signed[2]
		if _, err := w.Verify(context.Background(), bent, storageAudiences); err == nil {
			var ours, theirs map[string]any
			payload, _ := base64.RawURLEncoding.DecodeString(signed[1])
			_ = json.Unmarshal(payload, &ours)
			_ = json.Unmarshal([]byte(raw), &theirs)
			if !maps.Equal(ours, theirs) {
				t.Errorf("accepted claims %q", raw)
			}
		}
	})
}
