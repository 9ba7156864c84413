package amlocal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/amlocal/amlocal/azure"
)

// azureConfigDir is where the Azure CLI keeps its settings and its sign-in, in
// the state folder; Env points AZURE_CONFIG_DIR at it.
const azureConfigDir = "azure-config"

// writeAzureConfig prepares the Azure CLI's own folder: signed in as the seeded
// owner, with the group, workspace and location that commands leave out. Files
// that are there are kept: they hold what the user set or signed in as since.
//
// The formats are those azure-cli 2.91.0 writes after `az login
// --service-principal` and `az configure --defaults`; clients/e2e runs the CLI
// on what is written here.
func (a Access) writeAzureConfig() error {
	return a.writeAzureSettings(filepath.Join(a.StateDir, azureConfigDir), true)
}

// writeAzureSettings is writeAzureConfig for any folder, signed in or not.
func (a Access) writeAzureSettings(dir string, signedIn bool) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	profile := map[string]any{"subscriptions": []any{map[string]any{
		"id": azure.SeedSubscriptionID, "name": "amlocal", "state": "Enabled", "isDefault": true,
		"tenantId": azure.SeedTenantID, "homeTenantId": azure.SeedTenantID, "managedByTenants": []any{},
		"environmentName": "AzureCloud", "user": map[string]any{"name": azure.SeedOwnerAppID, "type": "servicePrincipal"},
	}}}
	entries := []any{map[string]any{"client_id": azure.SeedOwnerAppID, "tenant": azure.SeedTenantID, "client_secret": a.OwnerSecret}}
	files := []struct {
		name    string
		content any
	}{
		{"azureProfile.json", profile},
		{"service_principal_entries.json", entries},
		{"clouds.config", iniText("AzureCloud", "subscription", azure.SeedSubscriptionID)},
		{"config", iniText("cloud", "name", "AzureCloud") +
			iniText("core", "collect_telemetry", "false", "survey_message", "false") +
			iniText("defaults", "group", azure.SeedResourceGroup, "workspace", azure.SeedWorkspace, "location", azure.SeedLocation)},
	}
	if !signedIn {
		files = files[2:]
	}
	for _, f := range files {
		text, ok := f.content.(string)
		if !ok {
			raw, err := json.Marshal(f.content)
			if err != nil {
				return err
			}
			text = string(raw)
		}
		if err := writeNew(filepath.Join(dir, f.name), text); err != nil {
			return fmt.Errorf("prepare the Azure CLI's folder: %w", err)
		}
	}
	return nil
}

// iniText is one section of an INI file.
func iniText(section string, pairs ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[%s]\n", section)
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&b, "%s = %s\n", pairs[i], pairs[i+1])
	}
	b.WriteByte('\n')
	return b.String()
}

// writeNew writes a file only its owner can read, unless it exists.
func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
