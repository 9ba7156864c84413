package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
)

// tickEnv has the instance print numbered lines all the time.
const tickEnv = "E2E_TICK"

// slowEnv has it take a while before it serves.
const slowEnv = "E2E_SLOW"

// findings are what the code inside an instance sees: its environment, and what
// a read of the box gives it.
type findings struct {
	Environment []string
	Text        string
	Status      int
	Code, Error string
}

// serveAsInstance is a scoring server that answers with findings. Its
// credential is the SDK's default chain: whatever it finds, it uses.
func serveAsInstance() error {
	fmt.Println("the instance begins")
	if os.Getenv(tickEnv) != "" {
		go func() {
			for n := 0; ; n++ {
				fmt.Printf("tick %d\n", n)
				time.Sleep(5 * time.Millisecond)
			}
		}()
	}
	if pause, err := time.ParseDuration(os.Getenv(slowEnv)); err == nil {
		time.Sleep(pause)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "Healthy") })
	mux.HandleFunc("POST /score", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		f := findings{Environment: os.Environ()}
		text, err := readBox(r)
		f.Text = text
		var re *azcore.ResponseError
		if errors.As(err, &re) {
			f.Status, f.Code = re.StatusCode, re.ErrorCode
		}
		if err != nil {
			f.Error = err.Error()
		}
		_ = json.NewEncoder(w).Encode(f)
	})
	server := &http.Server{Addr: "127.0.0.1:" + os.Getenv("AMLOCAL_PORT_8080"), Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}

func readBox(r *http.Request) (string, error) {
	cred, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return "", err
	}
	client, err := azblob.NewClient("https://"+boxAccount+".blob.core.windows.net/", cred, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.DownloadStream(r.Context(), "box", "hello.txt", nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}
