package amlocal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/amlocal/amlocal/azure"
)

// Access is what a client needs to reach a running emulator. It holds the
// owner's secret and the admin token: print neither.
type Access struct {
	PID     int       `json:"pid"`
	Port    int       `json:"port"`
	Runner  string    `json:"runner"`
	Started time.Time `json:"started"`
	Version string    `json:"version,omitempty"`

	StateDir   string `json:"-"`
	CA         string `json:"ca"`         // our root, PEM
	Bundle     string `json:"bundle"`     // our root and the system's, PEM
	TrustStore string `json:"trustStore"` // the same as PKCS#12

	AdminToken  string `json:"-"`
	OwnerSecret string `json:"-"`
}

// ErrNotRunning says that no emulator runs on a state folder.
var ErrNotRunning = errors.New("no emulator is running on this state folder; start one with `amlocal up`")

// URL is the emulator's address, also as a proxy.
func (a Access) URL() string { return "http://127.0.0.1:" + strconv.Itoa(a.Port) }

// ReadAccess finds the emulator that runs on a state folder. The error wraps
// ErrNotRunning when there is none.
func ReadAccess(stateDir string) (Access, error) {
	dir, err := filepath.Abs(stateDir)
	if err != nil {
		return Access{}, err
	}
	var a Access
	if err := readJSON(filepath.Join(dir, runFile), &a); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrNotRunning
		}
		return a, fmt.Errorf("%s: %w", dir, err)
	}
	var sec secrets
	if err := readJSON(filepath.Join(dir, secretsFile), &sec); err != nil {
		return a, err
	}
	a.StateDir, a.AdminToken, a.OwnerSecret = dir, sec.AdminToken, sec.OwnerSecret
	return a, nil
}

func (a Access) write() error { return writeJSON(filepath.Join(a.StateDir, runFile), a) }

// remove takes the record away, if it is this process's: an emulator that
// failed to start leaves another's alone.
func (a Access) remove() error {
	if a.StateDir == "" { // it never listened
		return nil
	}
	var there Access
	if err := readJSON(filepath.Join(a.StateDir, runFile), &there); err != nil || there.PID != a.PID {
		return nil //nolint:nilerr // nothing of ours to remove
	}
	err := os.Remove(filepath.Join(a.StateDir, runFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Var is one environment variable.
type Var struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Env are the variables that lead a client to this emulator and sign it in as
// the seeded owner. lookup reads the surrounding environment (os.LookupEnv),
// some of which is kept: Java options, az extensions.
func (a Access) Env(lookup func(string) (string, bool)) []Var {
	proxy := a.URL()
	// 169.254.169.254 must go through the proxy: on a cloud machine the real
	// metadata service would answer with a real credential.
	const direct = "localhost,127.0.0.1,::1"
	vars := []Var{
		{"HTTPS_PROXY", proxy}, {"HTTP_PROXY", proxy}, {"https_proxy", proxy}, {"http_proxy", proxy},
		{"NO_PROXY", direct}, {"no_proxy", direct},
		{"REQUESTS_CA_BUNDLE", a.Bundle}, {"SSL_CERT_FILE", a.Bundle}, {"CURL_CA_BUNDLE", a.Bundle}, {"NODE_EXTRA_CA_CERTS", a.Bundle},
		{"JAVA_TOOL_OPTIONS", a.javaOptions(lookup)},
		{"AZURE_CONFIG_DIR", filepath.Join(a.StateDir, azureConfigDir)},
		{"AZURE_EXTENSION_DIR", extensionDir(lookup)},
		{"AZURE_TENANT_ID", azure.SeedTenantID},
		{"AZURE_CLIENT_ID", azure.SeedOwnerAppID},
		{"AZURE_CLIENT_SECRET", a.OwnerSecret},
		{"AZURE_SUBSCRIPTION_ID", azure.SeedSubscriptionID},
		{"AZURE_RESOURCE_GROUP", azure.SeedResourceGroup},
		{"AZURE_ML_WORKSPACE", azure.SeedWorkspace},
		{"AZURE_LOCATION", azure.SeedLocation},
	}
	return vars
}

// javaMarker begins the options we add, so that a shell which is already set
// up does not collect them again and again.
const javaMarker = "-Damlocal=1"

func (a Access) javaOptions(lookup func(string) (string, bool)) string {
	port := strconv.Itoa(a.Port)
	ours := javaMarker +
		" -Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=" + port +
		" -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=" + port +
		" -Dhttp.nonProxyHosts=localhost|127.0.0.1" +
		" " + javaQuote("-Djavax.net.ssl.trustStore="+a.TrustStore) +
		" -Djavax.net.ssl.trustStorePassword=changeit -Djavax.net.ssl.trustStoreType=PKCS12"
	if theirs := withoutJavaOptions(value(lookup, "JAVA_TOOL_OPTIONS")); theirs != "" {
		return theirs + " " + ours
	}
	return ours
}

// extensionDir keeps the user's az extensions, which would otherwise be looked
// for in the private config folder.
func extensionDir(lookup func(string) (string, bool)) string {
	if dir := value(lookup, "AZURE_EXTENSION_DIR"); dir != "" {
		return dir
	}
	if dir := value(lookup, "AZURE_CONFIG_DIR"); dir != "" && filepath.Base(dir) != azureConfigDir {
		return filepath.Join(dir, "cliextensions")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".azure", "cliextensions")
}

func value(lookup func(string) (string, bool), name string) string {
	v, _ := lookup(name)
	return v
}

// String names the emulator without its secrets.
func (a Access) String() string { return fmt.Sprintf("amlocal at %s (process %d)", a.URL(), a.PID) }

// GoString is String: no way of printing shows a secret.
func (a Access) GoString() string { return a.String() }
