package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

const vaultAudience = "https://vault.azure.net"

// secretRef is a secret of a key vault: what KV_SECRET says in the form
// <secret>@https://<vault>.vault.azure.net.
type secretRef struct{ name, vault string }

// secretFromEnv reads KV_SECRET; ok is false where it is not set.
func secretFromEnv(getenv func(string) string) (ref secretRef, ok bool, err error) {
	text := getenv("KV_SECRET")
	if text == "" {
		return ref, false, nil
	}
	name, vault, found := strings.Cut(text, "@")
	u, err := url.Parse(vault)
	if !found || name == "" || err != nil || u.Scheme != "https" || u.Host == "" {
		return ref, false, fmt.Errorf("KV_SECRET is %q, not <secret>@https://<vault>.vault.azure.net", text)
	}
	return secretRef{name, "https://" + u.Host}, true, nil
}

// read gets the secret's value with a bearer token.
func (s secretRef) read(ctx context.Context, client *http.Client, token string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.vault+"/secrets/"+url.PathEscape(s.name)+"?api-version=7.4", nil)
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("secret %s refused: %s: %s", s.name, resp.Status, body)
	}
	var answer struct {
		Value string `json:"value"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", fmt.Errorf("secret %s: the answer is not JSON", s.name)
	}
	return answer.Value, nil
}
