package vault

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// hostSuffix is what follows the vault's name in a host.
const hostSuffix = ".vault.azure.net"

// target is what a request addresses, parsed once before routing.
type target struct {
	vault, name, version string
	// badName is a name or version that cannot be one.
	badName string

	// found is the vault, once looked up; issuer the `iss` of the caller's
	// token, once verified.
	found  Vault
	issuer string
}

type targetKey struct{}

func targetOf(r *http.Request) *target { return targetIn(r.Context()) }

func targetIn(ctx context.Context) *target {
	t, _ := ctx.Value(targetKey{}).(*target)
	return t
}

// parseTarget reads the address of r and returns the request the router sees.
// Azure forgives what careless clients write: doubled and final slashes, and
// any letter case in its own words.
func parseTarget(r *http.Request) (*http.Request, *target) {
	t := &target{vault: hostVault(r.Host)}
	var parts []string
	for part := range strings.SplitSeq(r.URL.EscapedPath(), "/") {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if len(parts) > 0 {
		parts[0] = strings.ToLower(parts[0])
	}
	if len(parts) == 3 {
		for _, word := range []string{"versions", "backup", "recover"} {
			if strings.EqualFold(parts[2], word) {
				parts[2] = word
			}
		}
	}
	if len(parts) == 2 && r.Method == http.MethodPost && strings.EqualFold(parts[1], "restore") {
		parts[1] = "restore"
	} else if len(parts) > 1 && (parts[0] == "secrets" || parts[0] == "deletedsecrets") {
		t.name = unescape(parts[1])
		if !validName(t.name) {
			t.badName = t.name
		}
		if len(parts) == 3 && parts[2] != "versions" && parts[2] != "backup" && parts[2] != "recover" {
			t.version = unescape(parts[2])
			if t.badName == "" && !validName(t.version) {
				t.badName = t.version
			}
		}
	}
	routed := r.WithContext(context.WithValue(r.Context(), targetKey{}, t))
	u := *r.URL
	u.RawPath = "/" + strings.Join(parts, "/")
	u.Path = unescape(u.RawPath)
	routed.URL = &u
	return routed, t
}

func unescape(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}

// hostVault is the vault that a public host name stands for, or "".
func hostVault(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	name, ok := strings.CutSuffix(strings.ToLower(strings.TrimSuffix(host, ".")), hostSuffix)
	if !ok || strings.Contains(name, ".") {
		return ""
	}
	return name
}

// validName is the rule for secrets' names; versions are within it.
func validName(s string) bool {
	for _, c := range s {
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 127
}

// scopeOf is the scope a request is decided at.
func scopeOf(r *http.Request) string {
	t := targetOf(r)
	return secretScope(t.found, t.name)
}

func secretScope(v Vault, name string) string {
	if name == "" {
		return v.ResourceID
	}
	return v.ResourceID + "/secrets/" + name
}
