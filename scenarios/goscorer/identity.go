package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

const storageAudience = "https://storage.azure.com/"

// maxAnswer bounds what is read of an answer that should be small.
const maxAnswer = 1 << 20

// identity is how this instance asks for tokens: the pair of variables it was
// given, and the header and parameter names that go with that pair.
type identity struct {
	endpoint, secret        string
	header, clientParam     string
	apiVersion, uaiClientID string
}

// identityFromEnv prefers the documented pair, MSI_ENDPOINT and MSI_SECRET, and
// falls back to the newer IDENTITY_ENDPOINT and IDENTITY_HEADER.
func identityFromEnv(getenv func(string) string) (identity, error) {
	id := identity{uaiClientID: getenv("UAI_CLIENT_ID")}
	switch {
	case getenv("MSI_ENDPOINT") != "":
		id.endpoint, id.secret = getenv("MSI_ENDPOINT"), getenv("MSI_SECRET")
		id.header, id.clientParam = "secret", "clientid"
	case getenv("IDENTITY_ENDPOINT") != "":
		id.endpoint, id.secret = getenv("IDENTITY_ENDPOINT"), getenv("IDENTITY_HEADER")
		id.header, id.clientParam, id.apiVersion = "X-IDENTITY-HEADER", "client_id", "2019-08-01"
	default:
		return identity{}, errors.New("neither MSI_ENDPOINT nor IDENTITY_ENDPOINT is set: this instance has no managed identity")
	}
	return id, nil
}

// token asks for an access token for resource.
func (id identity) token(ctx context.Context, client *http.Client, resource string) (string, error) {
	query := url.Values{"resource": {resource}}
	if id.apiVersion != "" {
		query.Set("api-version", id.apiVersion)
	}
	if id.uaiClientID != "" {
		query.Set(id.clientParam, id.uaiClientID)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, id.endpoint+"?"+query.Encode(), nil)
	if err != nil {
		return "", fmt.Errorf("identity endpoint: %w", err)
	}
	req.Header.Set(id.header, id.secret)
	req.Header.Set("Metadata", "true")
	resp, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("identity endpoint: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return "", fmt.Errorf("identity endpoint: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("token refused: %s: %s", resp.Status, body)
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", fmt.Errorf("identity endpoint: the answer is not JSON: %w", err)
	}
	if answer.AccessToken == "" {
		return "", errors.New("identity endpoint: the answer has no access_token")
	}
	return answer.AccessToken, nil
}
