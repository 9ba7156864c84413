// Command inside is the server of a test's container or process: it runs, when it
// is asked to, the client it was started with, some of its variables changed, and
// answers what the client printed. As `inside read` it is such a client itself; as
// `inside env|get|dial|resolve` it tells what else can be seen and reached.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
)

func main() {
	if report := act(context.Background(), os.Args[1:]); report != nil {
		if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
			os.Exit(1)
		}
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /score", score)
	port := cmp.Or(os.Getenv("AMLOCAL_PORT_8080"), "8080") // a plain process has no port 8080 of its own
	server := &http.Server{Addr: ":" + port, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	fmt.Fprintln(os.Stderr, server.ListenAndServe())
	os.Exit(1)
}

// act does what the arguments ask, if it is this program that is asked.
func act(ctx context.Context, args []string) map[string]string {
	if len(args) == 0 {
		return nil
	}
	report := map[string]string{}
	fail := func(err error) {
		if err != nil {
			report["error"] = err.Error()
		}
	}
	switch args[0] {
	case "read":
		return read(ctx, args[1:])
	case "env":
		for _, kv := range os.Environ() {
			name, value, _ := strings.Cut(kv, "=")
			report[name] = value
		}
		addresses, err := net.InterfaceAddrs()
		fail(err)
		for _, a := range addresses {
			if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() {
				report["address"] = n.IP.String()
			}
		}
	case "get": // a token: URL, secret
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, args[1], nil)
		if err != nil {
			fail(err)
			break
		}
		req.Header.Set("secret", args[2])
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			fail(err)
			break
		}
		_ = resp.Body.Close()
		report["status"] = resp.Status
	case "dial":
		c, err := net.DialTimeout("tcp", args[1], 1500*time.Millisecond)
		fail(err)
		if err == nil {
			report["connected"] = c.RemoteAddr().String()
			_ = c.Close()
		}
	case "resolve":
		addresses, err := net.DefaultResolver.LookupHost(ctx, args[1])
		fail(err)
		report["addresses"] = strings.Join(addresses, " ")
	default:
		return nil
	}
	return report
}

// score runs this program's arguments, and those of the request after them.
func score(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		Args   []string
		Change []string // variables: NAME=value, or NAME alone to take it away
	}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	argv := append(slices.Clone(os.Args[1:]), ask.Args...)
	cmd := exec.CommandContext(r.Context(), argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); !slices.Contains(ask.Change, name) {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	for _, kv := range ask.Change {
		if strings.Contains(kv, "=") { // of two the last counts
			cmd.Env = append(cmd.Env, kv)
		}
	}
	out, err := cmd.Output()
	if err != nil {
		http.Error(w, fmt.Sprintf("%v: %s", err, out), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(out)
}

// read does what the clients of the other languages do: see clients/js/read.mjs.
func read(ctx context.Context, args []string) map[string]string {
	report := map[string]string{}
	url := "https://" + args[0] + ".blob.core.windows.net/"
	what, options := "all", &azidentity.ManagedIdentityCredentialOptions{}
	if len(args) > 3 {
		what = args[3]
	}
	if len(args) > 4 {
		options.ID = azidentity.ClientID(args[4])
	}
	cred, err := azidentity.NewManagedIdentityCredential(options)
	if err != nil {
		report["credential"] = err.Error()
		return report
	}
	token, err := cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{"https://storage.azure.com/.default"}})
	if err != nil {
		report["credential"] = err.Error()
		return report
	}
	report["token"] = "given"
	if what == "all" || what == "sdk" {
		report["sdk"] = bySDK(ctx, url, args, cred)
	}
	if what == "all" || what == "plain" {
		report["plain"] = plainly(ctx, url+args[1]+"/"+args[2], token.Token)
	}
	return report
}

func plainly(ctx context.Context, url, token string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("x-ms-version", "2023-11-03")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err.Error()
	case resp.StatusCode != http.StatusOK:
		return fmt.Sprintf("%d %s", resp.StatusCode, resp.Header.Get("x-ms-error-code"))
	}
	return string(text)
}

func bySDK(ctx context.Context, url string, args []string, cred azcore.TokenCredential) string {
	client, err := azblob.NewClient(url, cred, nil)
	if err != nil {
		return err.Error()
	}
	got, err := client.DownloadStream(ctx, args[1], args[2], nil)
	if err != nil {
		var refused *azcore.ResponseError
		if errors.As(err, &refused) {
			return fmt.Sprintf("%d %s", refused.StatusCode, refused.ErrorCode)
		}
		return err.Error()
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
