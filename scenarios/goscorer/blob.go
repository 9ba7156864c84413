package main

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// blobRef is the one blob the deployment was told to read.
type blobRef struct{ account, container, file string }

func blobFromEnv(getenv func(string) string) (blobRef, error) {
	var missing []string
	need := func(name string) string {
		v := getenv(name)
		if v == "" {
			missing = append(missing, name)
		}
		return v
	}
	ref := blobRef{need("STORAGE_ACCOUNT_NAME"), need("STORAGE_CONTAINER_NAME"), need("FILE_NAME")}
	if len(missing) > 0 {
		return blobRef{}, fmt.Errorf("not set: %s", strings.Join(missing, ", "))
	}
	return ref, nil
}

// url keeps the slashes of a file name in folders and escapes the rest.
func (b blobRef) url() string {
	u := url.URL{Scheme: "https", Host: b.account + ".blob.core.windows.net", Path: "/" + b.container + "/" + b.file}
	return u.String()
}

// read gets the whole blob with a bearer token.
func (b blobRef) read(ctx context.Context, client *http.Client, token string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url(), nil)
	if err != nil {
		return "", fmt.Errorf("blob: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("x-ms-version", "2021-08-06")
	resp, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("blob: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return "", fmt.Errorf("blob: %w", err)
	}
	if len(body) > maxAnswer {
		return "", fmt.Errorf("blob %s/%s is larger than the %d bytes this scorer logs", b.container, b.file, maxAnswer)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("blob %s/%s refused: %s: %s", b.container, b.file, resp.Status, refusal(resp.Header, body))
	}
	return string(body), nil
}

// refusal is the code and message of a storage error, from the body where there
// is one, else from the header.
func refusal(header http.Header, body []byte) string {
	var doc struct {
		Code    string
		Message string
	}
	if err := xml.Unmarshal(body, &doc); err == nil && doc.Code != "" {
		return doc.Code + ": " + doc.Message
	}
	if code := header.Get("x-ms-error-code"); code != "" {
		return code
	}
	return string(body)
}
