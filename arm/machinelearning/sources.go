package machinelearning

import (
	"encoding/json"
	"fmt"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/store"
)

// sourcesMember of a deployment's Secret says what the revision that serves is
// made of. An instance that starts again is made of the same, whether or not the
// asset versions, the datastore or the registry are still there: they were
// needed when it was deployed (Azure goes on serving a deployment whose model
// was deleted; that it starts further instances of it too is unverified).
const sourcesMember = "sources"

// sources are a plan's environment, model and code as they were resolved.
type sources struct {
	Image      string       `json:"image,omitempty"`
	CondaFile  string       `json:"condaFile,omitempty"`
	Dockerfile string       `json:"dockerfile,omitempty"`
	Context    *source      `json:"context,omitempty"`
	Registry   string       `json:"registry,omitempty"`
	Scoring    runner.Route `json:"scoring,omitzero"`
	Liveness   runner.Route `json:"liveness,omitzero"`
	Readiness  runner.Route `json:"readiness,omitzero"`
	Model      *source      `json:"model,omitempty"`
	Code       *source      `json:"code,omitempty"`
}

// source is an asset but for where its files were put, which follows from the
// state folder.
type source struct {
	Name      string `json:"name"`
	Version   string `json:"version"`
	Account   string `json:"account"`
	Container string `json:"container"`
	Prefix    string `json:"prefix"`
}

func sourceOf(a *asset) *source {
	if a == nil {
		return nil
	}
	return &source{Name: a.name, Version: a.version, Account: a.account, Container: a.container, Prefix: a.prefix}
}

func (s *source) asset(kind string) *asset {
	if s == nil {
		return nil
	}
	return &asset{kind: kind, name: s.Name, version: s.Version, account: s.Account, container: s.Container, prefix: s.Prefix}
}

// keepSources writes what a served revision is made of into its deployment's
// record.
func keepSources(rec *arm.Record, pl *plan) error {
	env := pl.environment
	raw, err := json.Marshal(sources{
		Image: env.Image, CondaFile: env.CondaFile, Dockerfile: env.Dockerfile, Context: sourceOf(env.context), Registry: env.registry,
		Scoring: env.scoring, Liveness: env.liveness, Readiness: env.readiness,
		Model: sourceOf(pl.model), Code: sourceOf(pl.code),
	})
	if err != nil {
		return fmt.Errorf("what %s is made of: %w", pl.id, err)
	}
	rec.Secret[sourcesMember] = string(raw)
	return nil
}

// openSources is keepSources' other half. State folders of before it have only
// the names of the assets.
func (p *Provider) openSources(tx store.ReadTx, rec *arm.Record, pl *plan) error {
	raw := rec.Secret.String(sourcesMember)
	if raw == "" {
		return p.resolveSources(tx, pl)
	}
	var kept sources
	if err := json.Unmarshal([]byte(raw), &kept); err != nil {
		return fmt.Errorf("what %s is made of: %w", pl.id, err)
	}
	pl.environment = environment{
		Environment: runner.Environment{Image: kept.Image, CondaFile: kept.CondaFile, Dockerfile: kept.Dockerfile},
		context:     kept.Context.asset(contextKind), registry: kept.Registry,
		scoring: kept.Scoring, liveness: kept.Liveness, readiness: kept.Readiness,
	}
	if a := pl.environment.context; a != nil {
		pl.environment.Context = pl.assetDir(a)
	}
	pl.model, pl.code = kept.Model.asset("model"), kept.Code.asset("code")
	return nil
}

// resolveSources finds what the plan's document names.
func (p *Provider) resolveSources(tx store.ReadTx, pl *plan) (err error) {
	if pl.environment, err = p.environment(tx, pl); err != nil {
		return err
	}
	if ref := pl.doc.String("properties", "model"); ref != "" {
		if pl.model, err = findAsset(tx, pl, "model", ref, modelType+"/versions", "modelUri"); err != nil {
			return err
		}
	}
	if ref := pl.doc.String("properties", "codeConfiguration", "codeId"); ref != "" {
		pl.code, err = findAsset(tx, pl, "code", ref, codeType+"/versions", "codeUri")
	}
	return err
}
