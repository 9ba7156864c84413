package process

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/process/sandbox"
)

// inherited are the only variables of the emulator that reach a child.
var inherited = []string{"PATH", "LANG", "LC_ALL", "TZ"}

// markEnv marks an instance's processes, wherever they fork to, with the
// instance's folder: no other emulator's can have the same.
const markEnv = "AMLOCAL_INSTANCE"

// environ builds a child's environment: the allow-list, then what the
// environment's activation sets, then the Spec, then what the platform injects.
// The platform's data path never overwrites what the deployment set itself.
func (b *Backend) environ(spec runner.InstanceSpec, a artifact, f folder, ports map[int]int, warn func(string, ...any)) []string {
	env := map[string]string{}
	for _, name := range inherited {
		if v, ok := os.LookupEnv(name); ok {
			env[name] = v
		}
	}
	maps.Copy(env, a.Variables)
	maps.Copy(env, spec.Env)
	for name, path := range spec.PathEnv {
		env[name] = f.inside(path)
	}
	setDefault := func(name, value string) {
		if _, ok := env[name]; !ok {
			env[name] = value
		}
	}
	if a.Python != "" {
		bin := filepath.Dir(a.Python)
		env["PATH"] = strings.TrimSuffix(bin+string(os.PathListSeparator)+env["PATH"], string(os.PathListSeparator))
		env["VIRTUAL_ENV"] = filepath.Dir(bin)
		setDefault("PYTHONUNBUFFERED", "1")
		// Code and models are read-only in Azure; the environment's own
		// packages are compiled when it is made.
		setDefault("PYTHONDONTWRITEBYTECODE", "1")
		setDefault("AZUREML_INFERENCE_PYTHON_PATH", bin)
		setDefault("WORKER_TIMEOUT", "300") // the curated images' value
		if !f.boxed {
			env["LISTEN_FDS"] = strconv.Itoa(len(ports))
		}
	}
	bundle, identity := b.cfg.CABundle, b.cfg.IdentityURL
	if f.boxed {
		setDefault("HOME", sandbox.Home)
		identity = b.insideIdentity()
		if bundle != "" {
			bundle = insideBundle
		}
	} else {
		setDefault("HOME", f.home)
		setDefault("TMPDIR", f.tmp)
	}
	for containerPort, port := range ports {
		env[fmt.Sprintf("AMLOCAL_PORT_%d", containerPort)] = strconv.Itoa(port)
	}
	for _, name := range spec.IdentityURLVars {
		env[name] = identity
	}
	for _, name := range spec.IdentitySecretVars {
		env[name] = spec.Secret
	}
	inject := func(value string, names ...string) {
		for _, name := range names {
			if own, ok := env[name]; ok {
				if own != value {
					warn("the deployment sets %s itself; requests that follow it may not reach the emulator", name)
				}
				return
			}
		}
		for _, name := range names {
			env[name] = value
		}
	}
	if b.cfg.ProxyURL != nil && !f.boxed { // in a sandbox names lead to us
		proxy := b.cfg.ProxyURL(spec.InstanceID, spec.Secret)
		inject(proxy, "HTTPS_PROXY", "https_proxy")
		inject(proxy, "HTTP_PROXY", "http_proxy")
		inject("127.0.0.1,localhost", "NO_PROXY", "no_proxy")
	}
	if bundle != "" {
		for _, name := range []string{"REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"} {
			inject(bundle, name)
		}
	}
	if b.cfg.TrustStore != "" {
		store, proxy := b.cfg.TrustStore, ""
		if f.boxed { // names lead to us there
			store = insideStore
		} else if b.cfg.ProxyURL != nil {
			proxy = b.cfg.ProxyURL(spec.InstanceID, spec.Secret)
		}
		env[javaOptions] = withJava(env[javaOptions], store, b.cfg.TrustStorePassword, proxy, warn)
	}
	if !f.boxed { // there the agent bears it
		env[markEnv] = f.dir
	}
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}

// insideIdentity is the identity endpoint as a sandboxed instance reaches it.
func (b *Backend) insideIdentity() string {
	u, err := url.Parse(b.cfg.IdentityURL)
	if err != nil {
		return b.cfg.IdentityURL
	}
	u.Scheme, u.Host = "http", sandbox.IdentityAddress
	return u.String()
}
