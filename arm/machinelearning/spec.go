package machinelearning

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/runner"
)

// Where Azure puts things inside an instance.
const (
	appRoot   = "/var/azureml-app"
	modelRoot = appRoot + "/azureml-models"
)

// scriptRoute is where the inference server of script images answers.
var scriptRoute = runner.Route{Port: 5001, Path: "/"}

// spec turns a plan into what the runner understands.
func (p *Provider) spec(pl *plan) (runner.Spec, error) {
	doc := pl.doc
	spec := runner.Spec{
		ID: pl.id.Key(), Name: pl.endpoint.Name() + "/" + pl.id.Name(), Revision: pl.revision, Instances: instanceCount(doc),
		Environment: pl.environment.Environment, Env: map[string]string{}, PathEnv: map[string]string{},
	}
	if pl.kubernetes() {
		spec.CPU, spec.MemoryMiB = clusterSize(doc)
	} else if s, ok := sizeOf(doc.String("properties", "instanceType")); ok {
		spec.CPU, spec.MemoryMiB = float64(s.cores), s.memoryMiB
	}
	for name, value := range doc.Object("properties", "environmentVariables") {
		spec.Env[name], _ = value.(string)
	}
	maps.Copy(spec.Env, pl.injected)
	p.identityVars(&spec, pl.identities)
	if pl.model != nil {
		target := modelRoot + "/" + pl.model.name + "/" + pl.model.version
		spec.Mounts = append(spec.Mounts, runner.Mount{Source: pl.model.dir, Target: target})
		setPath(&spec, "AZUREML_MODEL_DIR", target)
	}
	scoring, liveness, readiness := runner.Route{Port: scriptRoute.Port, Path: "/score"}, scriptRoute, scriptRoute
	script := doc.String("properties", "codeConfiguration", "scoringScript")
	if pl.code != nil {
		target := appRoot + "/" + codeFolder(pl.code)
		spec.Mounts = append(spec.Mounts, runner.Mount{Source: pl.code.dir, Target: target})
		setPath(&spec, "AML_APP_ROOT", target)
		if script == "" {
			return spec, deploymentError("BadArgument", "error-badargument", "codeConfiguration.scoringScript names no script.")
		}
		if info, err := os.Stat(filepath.Join(pl.code.dir, filepath.FromSlash(script))); err != nil || info.IsDir() {
			return spec, deploymentError("ResourceNotReady", "error-resourcenotready", "The scoring script '%s' is not in the code folder '%s'.", script, codeFolder(pl.code))
		}
		spec.Script = &runner.Script{Dir: target, File: script}
		setDefault(&spec, "AZUREML_ENTRY_SCRIPT", script)
	}
	if env := pl.environment; env.scoring.Port != 0 {
		scoring, liveness, readiness = env.scoring, orRoute(env.liveness, env.scoring), orRoute(env.readiness, env.scoring)
	}
	spec.Scoring = scoring
	spec.Liveness, spec.Readiness = probe(doc, "livenessProbe", liveness), probe(doc, "readinessProbe", readiness)
	return spec, nil
}

func codeFolder(a *asset) string {
	if leaf := a.leaf(); leaf != "" {
		return leaf
	}
	return "code"
}

func orRoute(route, fallback runner.Route) runner.Route {
	if route.Port == 0 {
		return fallback
	}
	return route
}

// setDefault lets the deployment's own variable win over the platform's.
func setDefault(spec *runner.Spec, name, value string) {
	if _, set := spec.Env[name]; !set {
		spec.Env[name] = value
	}
}

func setPath(spec *runner.Spec, name, value string) {
	if _, set := spec.Env[name]; !set {
		spec.PathEnv[name] = value
	}
}

// identityVars names the variables that carry the identity endpoint.
// DEFAULT_IDENTITY_CLIENT_ID is never empty: Go's default chain breaks on it.
func (p *Provider) identityVars(spec *runner.Spec, ids Identities) {
	if p.deps.IdentityEnv != IdentityApp {
		spec.IdentityURLVars = append(spec.IdentityURLVars, "MSI_ENDPOINT")
		spec.IdentitySecretVars = append(spec.IdentitySecretVars, "MSI_SECRET")
	}
	if p.deps.IdentityEnv != IdentityMSI {
		spec.IdentityURLVars = append(spec.IdentityURLVars, "IDENTITY_ENDPOINT")
		spec.IdentitySecretVars = append(spec.IdentitySecretVars, "IDENTITY_HEADER")
	}
	switch {
	case ids.System != nil:
		setDefault(spec, "DEFAULT_IDENTITY_CLIENT_ID", ids.System.AppID)
	case len(ids.User) == 1:
		setDefault(spec, "DEFAULT_IDENTITY_CLIENT_ID", ids.User[0].AppID)
	}
}

func probe(doc arm.Document, name string, route runner.Route) runner.Probe {
	out := runner.Probe{Route: route, InitialDelay: 10 * time.Second, Period: 10 * time.Second, Timeout: 2 * time.Second, SuccessThreshold: 1, FailureThreshold: 30}
	settings := doc.Object("properties", name)
	for member, into := range map[string]*time.Duration{"initialDelay": &out.InitialDelay, "period": &out.Period, "timeout": &out.Timeout} {
		if d, ok := duration(settings.String(member)); ok && d > 0 {
			*into = d
		}
	}
	for member, into := range map[string]*int{"successThreshold": &out.SuccessThreshold, "failureThreshold": &out.FailureThreshold} {
		if n, ok := number(settings[member]); ok && n > 0 {
			*into = n
		}
	}
	if !strings.HasPrefix(out.Route.Path, "/") {
		out.Route.Path = "/" + out.Route.Path
	}
	return out
}
