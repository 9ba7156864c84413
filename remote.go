package amlocal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/amlocal/amlocal/intercept"
)

// Variables by which commands find an emulator whose state folder is out of
// reach, as that of one in a container: its address, and its admin token, which
// `amlocal admin-token` prints where it runs.
const (
	URLVar        = "AMLOCAL_URL"
	AdminTokenVar = "AMLOCAL_ADMIN_TOKEN"
)

// clientAnswer is what a client of ours elsewhere needs beyond the address. It
// holds the owner's secret: only who has the admin token gets it.
type clientAnswer struct {
	Access
	CAPEM       string `json:"caPem"`
	OwnerSecret string `json:"ownerSecret"`
}

func (e *Emulator) serveClient(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	reply(w, http.StatusOK, clientAnswer{Access: e.access, CAPEM: string(e.authority.RootPEM()), OwnerSecret: e.secrets.OwnerSecret})
}

// FetchAccess finds an emulator by its address on this machine and its admin
// token, and writes the files its clients need (certificates with this system's
// roots, the Azure CLI's folder) among the user's data; dir, if not empty, is
// another folder for them.
func FetchAccess(ctx context.Context, address, adminToken, dir string) (Access, error) {
	port, err := portOf(address)
	if err != nil {
		return Access{}, err
	}
	if adminToken == "" {
		return Access{}, fmt.Errorf("the emulator at %s gives the owner's sign-in only to who has its admin token: set %s to what `amlocal admin-token` prints where it runs", address, AdminTokenVar)
	}
	answer, err := askClient(ctx, port, adminToken)
	if err != nil {
		return Access{}, fmt.Errorf("the emulator at %s: %w", address, err)
	}
	if dir == "" {
		if dir, err = dataDir(filepath.Join("remote", "127.0.0.1_"+strconv.Itoa(port))); err != nil {
			return Access{}, err
		}
	}
	a := answer.Access
	a.Port, a.StateDir, a.AdminToken, a.OwnerSecret = port, dir, adminToken, answer.OwnerSecret
	return a, a.writeClient([]byte(answer.CAPEM))
}

// portOf refuses all but this machine's own addresses: the token and the
// owner's secret travel unencrypted.
func portOf(address string) (int, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || (u.Path != "" && u.Path != "/") {
		return 0, fmt.Errorf("%q is not an emulator's address, such as http://127.0.0.1:%d", address, DefaultPort)
	}
	if host := u.Hostname(); host != "localhost" && host != "127.0.0.1" {
		return 0, fmt.Errorf("%s: an emulator is reached at 127.0.0.1 only; forward the port of one on another machine (ssh -L)", address)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil || port < 1 || port > 65535 {
		return 0, fmt.Errorf("%s has no port, such as http://127.0.0.1:%d", address, DefaultPort)
	}
	return port, nil
}

// askClient never goes by a proxy: a shell may be pointed at another emulator.
func askClient(ctx context.Context, port int, adminToken string) (answer clientAnswer, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	at := url.URL{Scheme: "http", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Path: intercept.AdminPrefix + "client"}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return answer, err
	}
	r.Header.Set("Authorization", "Bearer "+adminToken)
	direct := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	resp, err := direct.Do(r)
	if err != nil {
		return answer, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return answer, fmt.Errorf("%s is not its admin token", AdminTokenVar)
	case resp.StatusCode != http.StatusOK:
		return answer, fmt.Errorf("it answered %s; is it an emulator of this version?", resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.CAPEM == "" || answer.OwnerSecret == "" {
		return answer, errors.Join(errors.New("it does not answer as an emulator"), err)
	}
	return answer, nil
}

// secretFile remembers whose sign-in a client's folder holds: a new emulator on
// the port has another.
const secretFile = "owner-secret"

// writeClient writes what the emulator itself writes into its state folder for
// clients beside it.
func (a *Access) writeClient(rootPEM []byte) error {
	roots, err := intercept.SystemRoots(outside("SSL_CERT_FILE"))
	if err != nil {
		return fmt.Errorf("system certificates: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(a.StateDir, "trust"), 0o700); err != nil {
		return err
	}
	files, err := intercept.WriteTrust(rootPEM, filepath.Join(a.StateDir, "trust"), roots)
	if err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	a.CA, a.Bundle, a.TrustStore = files.CA, files.Bundle, files.TrustStore
	known := filepath.Join(a.StateDir, secretFile)
	if before, err := os.ReadFile(known); err != nil || string(before) != a.OwnerSecret {
		if err := os.RemoveAll(filepath.Join(a.StateDir, azureConfigDir)); err != nil {
			return err
		}
		if err := writeFile(known, []byte(a.OwnerSecret)); err != nil {
			return err
		}
	}
	return a.writeAzureConfig()
}
