package machinelearning

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
)

func (p *Provider) endpointDir(endpoint azure.ResourceID) string {
	ws, _ := endpoint.Parent()
	return filepath.Join(p.deps.Dir, strings.ToLower(ws.SubscriptionID()+"."+ws.ResourceGroup()+"."+ws.Name()), strings.ToLower(endpoint.Name()))
}

func (p *Provider) deploymentDir(id azure.ResourceID) string {
	endpoint, _ := id.Parent()
	return filepath.Join(p.endpointDir(endpoint), strings.ToLower(id.Name()))
}

func (p *Provider) revisionDir(id azure.ResourceID, revision string) string {
	return filepath.Join(p.deploymentDir(id), revision)
}

// assetDir is where the files of an asset are.
func (pl *plan) assetDir(a *asset) string {
	return filepath.Join(pl.dir, strings.ReplaceAll(a.kind, " ", "-"))
}

// assets are what a deployment is made of, in the order Azure needs them.
func (pl *plan) assets() []*asset {
	return slices.DeleteFunc([]*asset{pl.environment.context, pl.model, pl.code}, func(a *asset) bool { return a == nil })
}

// download copies an asset's blobs to the revision's folder as the endpoint's
// identity, exactly as a bearer caller would read them.
func (p *Provider) download(ctx context.Context, pl *plan, a *asset, log io.Writer) error {
	a.dir = pl.assetDir(a)
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(a.dir) // blob names are the uploader's: no way out
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // read-only handle
	files, bytes := 0, int64(0)
	err = p.deps.Blobs.ReadAs(ctx, pl.who, a.account, a.container, a.prefix, func(name string, size int64, open func() (io.ReadCloser, error)) error {
		rel, mine := a.relative(name)
		if !mine {
			return nil
		}
		files++
		bytes += size
		return writeFile(root, rel, open)
	})
	place := a.account + "/" + a.container + "/" + a.prefix
	if err != nil {
		return p.downloadError(pl, a, place, err)
	}
	if files == 0 {
		return errDownload(a, "The %s '%s' could not be downloaded: there is nothing at %s.", a.kind, a.name, place)
	}
	_, err = fmt.Fprintf(log, "Downloaded %s %s:%s from %s: %d file(s), %d bytes\n", a.kind, a.name, a.version, place, files, bytes)
	return err
}

func (p *Provider) downloadError(pl *plan, a *asset, place string, err error) error {
	var typed *httpx.Error
	if !errors.As(err, &typed) {
		return fmt.Errorf("download %s %s: %w", a.kind, a.name, err)
	}
	hint := ""
	switch {
	case typed.Code == "AuthorizationFailure":
		hint = fmt.Sprintf(" The network rules of the storage account '%s' let nobody in: put AzureServices into networkAcls.bypass, or let its network be public, and create the deployment again.", a.account)
	case typed.Status == 403:
		hint = fmt.Sprintf(" Assign the role Storage Blob Data Reader on the storage account '%s' to the endpoint's identity '%s' (object id %s) and create the deployment again.", a.account, pl.who.Name, pl.who.ObjectID)
	}
	return errDownload(a, "The %s '%s' could not be downloaded from %s: %s: %s%s",
		a.kind, a.name, place, typed.Code, firstLine(typed.Message), hint).Because(err)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// relative is where a blob goes below the asset's folder; mine is false for a
// blob that merely shares the prefix's letters. A model keeps its leaf name as
// first level; code is laid out below its own folder.
func (a *asset) relative(name string) (rel string, mine bool) {
	switch {
	case a.prefix == "":
		return name, true
	case name == a.prefix:
		return a.leaf(), true
	case strings.HasPrefix(name, a.prefix+"/"):
		rel = strings.TrimPrefix(name, a.prefix+"/")
		if a.kind == "model" {
			rel = a.leaf() + "/" + rel
		}
		return rel, rel != "" && !strings.HasSuffix(rel, "/")
	}
	return "", false
}

func writeFile(root *os.Root, rel string, open func() (io.ReadCloser, error)) error {
	rel = filepath.FromSlash(rel)
	if dir := filepath.Dir(rel); dir != "." {
		if err := root.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	in, err := open()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := root.OpenFile(rel, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}
