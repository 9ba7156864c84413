package amlocal

import (
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
)

// question is what a test asks of the code inside an instance.
type question struct {
	// Do is read, write, token, environment, resolve (the name in Account) or
	// secret (the one that the variable in Account names).
	Do                       string
	Account, Container, Blob string
	Resource                 string
	// ClientID selects a user-assigned identity; Chain uses the whole
	// DefaultAzureCredential instead of the managed identity alone.
	ClientID string
	Chain    bool
	// Bare forgets the platform's identity variables first: IMDS is left.
	Bare bool
	// Try are attempts of Do "try", by what attempt makes of them.
	Try []string
}

// findings are what it found: a text, or an error in the service's words.
type findings struct {
	Text        string
	Status      int
	Code        string
	Error       string
	Environment []string
	// Tried is what became of each: "ok" and what was found, or the error.
	Tried map[string]string
}

// actAsInstance is a scoring server that answers questions with the real SDK,
// configured by nothing but the variables the platform gave it.
func actAsInstance() int {
	log.SetOutput(os.Stderr)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "Healthy") })
	mux.HandleFunc("POST /score", func(w http.ResponseWriter, r *http.Request) {
		var q question
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var a findings
		text, err := q.answer(r, &a)
		a.Text = text
		if err != nil {
			a.Error = err.Error()
			var re *azcore.ResponseError
			if errors.As(err, &re) {
				a.Status, a.Code = re.StatusCode, re.ErrorCode
			}
		}
		log.Printf("%s %s/%s: %d %s", q.Do, q.Account, q.Container, a.Status, a.Code)
		_ = json.NewEncoder(w).Encode(a)
	})
	server := &http.Server{Addr: "127.0.0.1:" + os.Getenv("AMLOCAL_PORT_8080"), Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	log.Printf("instance: %v", server.ListenAndServe())
	return 1
}

func (q question) credential() (azcore.TokenCredential, error) {
	if q.Bare {
		for _, name := range []string{"MSI_ENDPOINT", "MSI_SECRET", "IDENTITY_ENDPOINT", "IDENTITY_HEADER"} {
			if err := os.Unsetenv(name); err != nil {
				return nil, err
			}
		}
	}
	if q.Chain {
		return azidentity.NewDefaultAzureCredential(nil)
	}
	opts := &azidentity.ManagedIdentityCredentialOptions{}
	if q.ClientID != "" {
		opts.ID = azidentity.ClientID(q.ClientID)
	}
	return azidentity.NewManagedIdentityCredential(opts)
}

func (q question) answer(r *http.Request, a *findings) (string, error) {
	if q.Do == "environment" {
		a.Environment = os.Environ()
		return "", nil
	}
	if q.Do == "try" {
		a.Tried = map[string]string{}
		for _, what := range q.Try {
			a.Tried[what] = attempt(what)
		}
		return "", nil
	}
	if q.Do == "resolve" {
		addresses, err := net.DefaultResolver.LookupHost(r.Context(), q.Account)
		return strings.Join(addresses, " "), err
	}
	cred, err := q.credential()
	if err != nil {
		return "", err
	}
	if q.Do == "token" {
		token, err := cred.GetToken(r.Context(), policy.TokenRequestOptions{Scopes: []string{q.Resource + "/.default"}})
		return token.Token, err
	}
	if q.Do == "secret" {
		name, vault, _ := strings.Cut(os.Getenv(q.Account), "@")
		client, err := azsecrets.NewClient(vault, cred, nil)
		if err != nil {
			return "", err
		}
		resp, err := client.GetSecret(r.Context(), name, "", nil)
		if err != nil {
			return "", err
		}
		return *resp.Value, nil
	}
	client, err := azblob.NewClient("https://"+q.Account+".blob.core.windows.net/", cred, nil)
	if err != nil {
		return "", err
	}
	if q.Do == "write" {
		_, err := client.UploadStream(r.Context(), q.Container, q.Blob, strings.NewReader("written"), nil)
		return "", err
	}
	resp, err := client.DownloadStream(r.Context(), q.Container, q.Blob, nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// attempt does what a curious program might: it answers "ok: " and what it got,
// or the reason it got nothing.
func attempt(what string) string {
	kind, rest, _ := strings.Cut(what, " ")
	var text string
	var err error
	switch kind {
	case "read":
		var raw []byte
		raw, err = os.ReadFile(rest)
		text = string(raw)
	case "list":
		var entries []os.DirEntry
		entries, err = os.ReadDir(rest)
		for _, e := range entries {
			text += e.Name() + " "
		}
	case "write":
		err = os.WriteFile(rest, []byte("mark"), 0o600)
	case "dial":
		network, address, _ := strings.Cut(rest, " ")
		var c net.Conn
		if c, err = net.DialTimeout(network, address, 5*time.Second); err == nil {
			_ = c.Close()
		}
	case "search": // every process's environment and command line
		text, err = searchProcesses(rest)
	case "ptrace":
		var pid int
		if pid, err = strconv.Atoi(rest); err == nil {
			err = ptrace(pid)
		}
	case "memory":
		var f *os.File
		if f, err = os.Open("/proc/" + rest + "/mem"); err == nil {
			_ = f.Close()
		}
	case "token": // as whoever has this secret
		var r *http.Request
		r, err = http.NewRequest(http.MethodGet, os.Getenv("MSI_ENDPOINT")+"?api-version=2017-09-01&resource=https%3A%2F%2Fstorage.azure.com", nil)
		if err != nil {
			break
		}
		r.Header.Set("Secret", rest)
		var resp *http.Response
		if resp, err = http.DefaultClient.Do(r); err == nil {
			_ = resp.Body.Close()
			if text = resp.Status; resp.StatusCode != http.StatusOK {
				err = errors.New(resp.Status)
			}
		}
	default:
		err = errors.New("no such attempt")
	}
	if err != nil {
		return err.Error()
	}
	return "ok: " + text
}

func searchProcesses(text string) (found string, err error) {
	entries, err := os.ReadDir("/proc")
	for _, e := range entries {
		if strings.Trim(e.Name(), "0123456789") != "" {
			continue
		}
		for _, file := range []string{"environ", "cmdline"} {
			if raw, err := os.ReadFile("/proc/" + e.Name() + "/" + file); err == nil && strings.Contains(string(raw), text) {
				found += e.Name() + "/" + file + " "
			}
		}
	}
	return found, err
}
