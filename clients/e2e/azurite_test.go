package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

// issued is a credential that holds one token.
type issued string

func (i issued) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(i), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// TestAzurite: a real Azurite in OAuth mode takes the emulator's tokens for
// storage, of applications, users and managed identities, and no others.
func TestAzurite(t *testing.T) {
	t.Parallel()
	covers.C(t, "Azurite", "R-524")
	address, client := startAzurite(t)
	e := labOf(t).emulator
	try := func(t *testing.T, token string) error {
		t.Helper()
		blobs, err := azblob.NewClient(address, issued(token), &azblob.ClientOptions{ClientOptions: azcore.ClientOptions{
			Transport: client, Retry: policy.RetryOptions{MaxRetries: -1},
		}})
		if err != nil {
			t.Fatal(err)
		}
		name := "box" + strings.ToLower(rand.Text())
		if _, err := blobs.CreateContainer(t.Context(), name, nil); err != nil {
			return err
		}
		if _, err := blobs.UploadBuffer(t.Context(), name, "hello.txt", []byte("hello"), nil); err != nil {
			return err
		}
		got, err := blobs.DownloadStream(t.Context(), name, "hello.txt", nil)
		if err != nil {
			return err
		}
		defer got.Body.Close()
		if text, err := io.ReadAll(got.Body); err != nil || string(text) != "hello" {
			t.Errorf("%q %v", text, err)
		}
		return nil
	}
	token := func(who, resource string) string {
		t.Helper()
		token, err := e.Token(t.Context(), who, resource)
		if err != nil {
			t.Fatal(err)
		}
		return token.Raw
	}
	identity := labIdentity(t, "machine-vm").ObjectID
	storage := token(azure.SeedOwnerObjectID, "https://storage.azure.com")
	for _, c := range []struct{ name, raw string }{
		{"application", storage},
		{"managed identity", token(identity, "https://storage.azure.com/")},
		{"one account", token(identity, "https://devstoreaccount1.blob.core.windows.net")},
	} {
		if err := try(t, c.raw); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, c := range []struct{ name, raw string }{
		{"another service", token(azure.SeedOwnerObjectID, "https://management.azure.com")},
		{"another account", token(identity, "https://other.blob.core.windows.net")},
		{"not a token", "abc"},
	} {
		var refused *azcore.ResponseError
		if err := try(t, c.raw); !errors.As(err, &refused) || refused.StatusCode/100 != 4 {
			t.Errorf("%s: %v, want a refusal", c.name, err)
		}
	}
}

// startAzurite runs the npm package with a certificate for localhost and
// answers its account's address and a client that trusts it.
func startAzurite(t *testing.T) (address string, client *http.Client) {
	t.Helper()
	files := filepath.Join(clientsDir(), "azurite")
	from := []string{filepath.Join(files, "package.json"), filepath.Join(files, "package-lock.json")}
	dir := install(t, "azurite", lacksProgram("node", "npm"), from, func(dir string) []*exec.Cmd {
		return []*exec.Cmd{
			exec.Command("cp", append(from, dir)...),
			exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--cache", filepath.Join(cacheDir(), "clients", "npm-cache")),
		}
	})
	work := t.TempDir()
	roots := writeLocalhostCertificate(t, work)
	port := 0
	for range 100 { // below those of outgoing connections, one of which might take it before Azurite does
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", 10000+mathrand.IntN(10000)))
		if err != nil {
			continue
		}
		port = listener.Addr().(*net.TCPAddr).Port
		_ = listener.Close()
		break
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "node", filepath.Join(dir, "node_modules", "azurite", "dist", "src", "blob", "main.js"),
		"--oauth", "basic", "--cert", "cert.pem", "--key", "key.pem", "--blobHost", "localhost", "--blobPort", fmt.Sprint(port),
		"--skipApiVersionCheck", "--disableTelemetry", "--location", work, "--debug", filepath.Join(work, "debug.log"))
	cmd.Dir = work
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	client = &http.Client{Transport: transport}
	address = fmt.Sprintf("https://localhost:%d/devstoreaccount1", port)
	for patience := 1200; ; patience-- {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if err == nil {
			_ = resp.Body.Close()
			return address, client
		}
		if patience == 0 {
			t.Fatalf("Azurite does not answer: %v\n%s", err, output.String())
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func writeLocalhostCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, text := range map[string][]byte{"cert.pem": cert, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	return roots
}
