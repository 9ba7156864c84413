package machinelearning

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/store"
)

// asset is a model or code version a deployment names.
type asset struct {
	kind          string // "model", "code" or "build context"
	name, version string
	account       string
	container     string
	prefix        string // folder or blob name, without slashes at the ends
	dir           string // where its files were put; set by download
}

// contextKind is what the image of an environment is built from.
const contextKind = "build context"

// leaf is the asset's own last name, which its files keep as first level.
func (a *asset) leaf() string {
	if a.prefix == "" {
		return ""
	}
	return a.prefix[strings.LastIndexByte(a.prefix, '/')+1:]
}

// reference is how deployments name versioned assets, full id or short.
var reference = regexp.MustCompile(`^(?:azureml:)?([^/:@]+)[:@]([^/:@]+)$`)

// assetID resolves a reference within the plan's workspace.
func assetID(pl *plan, ref, versionType string) (azure.ResourceID, bool) {
	ref = strings.TrimPrefix(ref, "azureml:")
	if strings.HasPrefix(ref, "/") {
		id, err := azure.ParseResourceID(ref)
		if err != nil || !strings.EqualFold(id.Type(), versionType) {
			return id, false
		}
		// Assets are shared between workspaces through registries only.
		ws, ok := id.Ancestor(workspaceType)
		return id, ok && strings.EqualFold(ws.String(), pl.workspace.ID)
	}
	m := reference.FindStringSubmatch(ref)
	if m == nil {
		return azure.ResourceID{}, false
	}
	kind := strings.TrimSuffix(strings.TrimPrefix(versionType, workspaceType+"/"), "/versions")
	return pl.workspace.ResourceID().Child(kind, m[1]).Child("versions", m[2]), true
}

func findAsset(tx store.ReadTx, pl *plan, kind, ref, versionType, uriMember string) (*asset, error) {
	id, ok := assetID(pl, ref, versionType)
	if !ok {
		return nil, deploymentError("BadArgument", "error-badargument", "The %s reference '%s' cannot be resolved.", kind, ref)
	}
	rec, ok, err := arm.Get(tx, id.String())
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, deploymentError("BadArgument", "error-badargument", "The %s '%s' does not exist.", kind, id)
	}
	parent, _ := id.Parent()
	a := &asset{kind: kind, name: parent.Name(), version: id.Name()}
	if err := a.locate(tx, pl, rec.Document.String("properties", uriMember)); err != nil {
		return nil, err
	}
	return a, nil
}

// datastoreURI is azureml://[subscriptions/../]datastores/NAME/paths/PATH.
var datastoreURI = regexp.MustCompile(`(?i)^azureml://(?:.*/)?datastores/([^/]+)/paths/(.*)$`)

// locate reads where an asset's files are.
func (a *asset) locate(tx store.ReadTx, pl *plan, uri string) error {
	if m := datastoreURI.FindStringSubmatch(uri); m != nil {
		rec, ok, err := arm.Get(tx, pl.workspace.ID+"/datastores/"+m[1])
		if err != nil {
			return err
		}
		if !ok {
			return deploymentError("BadArgument", "error-badargument", "The datastore '%s' of the %s '%s' does not exist.", m[1], a.kind, a.name)
		}
		a.account, a.container = rec.Document.String("properties", "accountName"), rec.Document.String("properties", "containerName")
		a.prefix = strings.Trim(m[2], "/")
		return nil
	}
	u, err := url.Parse(uri)
	account, suffix, _ := strings.Cut(u.Hostname(), ".")
	container, prefix, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	if err != nil || !strings.EqualFold(suffix, "blob.core.windows.net") || container == "" {
		return deploymentError("BadArgument", "error-badargument", "The location '%s' of the %s '%s' is neither a datastore path nor a blob URL.", uri, a.kind, a.name)
	}
	a.account, a.container, a.prefix = account, container, strings.Trim(prefix, "/")
	return nil
}

// environment is what a deployment runs in.
type environment struct {
	runner.Environment
	// context is what the image is built from, nil for a ready one.
	context *asset
	// registry is the ARM id of the registry the image comes from, "" for
	// public ones and for workspaces without a registry.
	registry string
	// scoring, liveness and readiness are a custom container's routes.
	scoring, liveness, readiness runner.Route
}

func (p *Provider) environment(tx store.ReadTx, pl *plan) (environment, error) {
	env := environment{}
	ref := pl.doc.String("properties", "environmentId")
	if ref == "" {
		return env, deploymentError("BadArgument", "error-badargument", "The deployment names no environment.")
	}
	id, ok := assetID(pl, ref, environmentType+"/versions")
	if !ok {
		return env, deploymentError("BadArgument", "error-badargument", "The environment reference '%s' cannot be resolved; curated and registry environments are not emulated.", ref)
	}
	rec, ok, err := arm.Get(tx, id.String())
	if err != nil {
		return env, err
	}
	if !ok {
		return env, deploymentError("BadArgument", "error-badargument", "The environment '%s' does not exist.", id)
	}
	doc := rec.Document
	env.Image, env.CondaFile = doc.String("properties", "image"), doc.String("properties", "condaFile")
	if uri := doc.String("properties", "build", "contextUri"); uri != "" {
		parent, _ := id.Parent()
		env.context = &asset{kind: contextKind, name: parent.Name(), version: id.Name()}
		if err := env.context.locate(tx, pl, uri); err != nil {
			return env, err
		}
		env.Image, env.CondaFile = "", "" // a build context is the whole environment
		env.Context, env.Dockerfile = pl.assetDir(env.context), doc.String("properties", "build", "dockerfilePath")
	} else if env.Image == "" {
		return env, deploymentError("ImageBuildFailure", "error-imagebuildfailure", "The environment '%s' has neither an image nor a build context.", id)
	}
	if inference := doc.Object("properties", "inferenceConfig"); inference != nil {
		for member, into := range map[string]*runner.Route{"scoringRoute": &env.scoring, "livenessRoute": &env.liveness, "readinessRoute": &env.readiness} {
			port, _ := number(inference.Object(member)["port"])
			*into = runner.Route{Port: port, Path: inference.String(member, "path")}
		}
	}
	env.registry, err = registryOf(tx, pl.workspace, env.Environment)
	return env, err
}

// registryOf is the registry that an environment's image is pulled from.
func registryOf(tx store.ReadTx, ws *arm.Record, env runner.Environment) (string, error) {
	own := ws.Document.String("properties", "containerRegistry")
	if env.CondaFile != "" || env.Context != "" {
		return own, nil // built by the workspace, pushed to its registry
	}
	host, _, _ := strings.Cut(env.Image, "/")
	name, ours := strings.CutSuffix(strings.ToLower(host), ".azurecr.io")
	if !ours {
		return "", nil
	}
	if id, err := azure.ParseResourceID(own); err == nil && strings.EqualFold(id.Name(), name) {
		return own, nil
	}
	for rec, err := range arm.Under(tx, "/", "Microsoft.ContainerRegistry/registries") {
		if err != nil {
			return "", err
		}
		if strings.EqualFold(rec.Name(), name) {
			return rec.ID, nil
		}
	}
	return "", deploymentError("BadArgument", "error-badargument", "The container registry '%s' does not exist; the image '%s' cannot be pulled.", host, env.Image)
}
