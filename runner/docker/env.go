package docker

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/docker/agent/relay"
)

// bundleVariables lead clients to the bundle: Python's requests, OpenSSL and
// Go, curl, Node, and as a courtesy gRPC, the AWS clients, pip and git, which
// replace their trust by a file of their own too.
var bundleVariables = []string{
	"REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
	"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "AWS_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO",
}

const (
	javaOptions    = "JAVA_TOOL_OPTIONS"
	javaTrustStore = "javax.net.ssl.trustStore="
)

// environ are the variables set on top of the image's: the Spec's, the
// identity endpoint's, and those that make clients trust the emulator. What the
// deployment sets itself is never overwritten; what the image sets is, because
// our bundle holds the public roots as well.
func (b *Backend) environ(spec runner.InstanceSpec, image imageInfo, network netip.Prefix, warn func(string, ...any)) []string {
	env := map[string]string{}
	maps.Copy(env, spec.Env)
	maps.Copy(env, spec.PathEnv)
	theirs := maps.Clone(env)
	identity := "http://" + netip.AddrPortFrom(relay.Host(network, relay.AgentHost), relay.IdentityPort).String() + b.cfg.IdentityPath
	for _, name := range spec.IdentityURLVars {
		env[name] = identity
	}
	for _, name := range spec.IdentitySecretVars {
		env[name] = spec.Secret
	}
	for _, name := range bundleVariables {
		if own, ok := theirs[name]; ok {
			if own != bundleFile {
				warn("the deployment sets %s itself: clients that read it will not trust the emulator unless %s holds the certificates of %s", name, own, bundleFile)
			}
			continue
		}
		env[name] = bundleFile
	}
	if b.cfg.TrustStore != "" {
		given, ok := theirs[javaOptions]
		if !ok {
			given = valueOf(image.env, javaOptions)
		}
		if strings.Contains(given, javaTrustStore) {
			warn("%s names a trust store itself: Java will not trust the emulator unless it holds the certificates of %s", javaOptions, storeFile)
		} else {
			env[javaOptions] = strings.TrimSpace(given + " -D" + javaTrustStore + storeFile +
				" -Djavax.net.ssl.trustStorePassword=" + b.cfg.TrustStorePassword + " -Djavax.net.ssl.trustStoreType=PKCS12")
		}
	}
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}

func valueOf(env []string, name string) string {
	for _, kv := range env {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			return v
		}
	}
	return ""
}

// rootCapabilities are what programs that begin as root use to prepare files
// and become another user. NET_RAW is not among them: with it an instance could
// take its neighbours' addresses.
var rootCapabilities = []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "NET_BIND_SERVICE"}

// capabilitiesFor gives none to an image with a user of its own.
func capabilitiesFor(user string) []string {
	name, _, _ := strings.Cut(user, ":")
	if id, err := strconv.Atoi(name); name == "" || name == "root" || err == nil && id == 0 {
		return rootCapabilities
	}
	return nil
}

// instancePids stops a fork bomb well above any server's need.
const instancePids = 4096

// limits are the instance's share of the machine, capped to what there is.
func limits(spec runner.InstanceSpec, m machine, say func(string, ...any)) (memory int64, cpus float64) {
	memory, cpus = int64(spec.MemoryMiB)<<20, spec.CPU
	var capped []string
	if m.memory > 0 && (memory == 0 || memory > m.memory) {
		if memory > 0 {
			capped = append(capped, fmt.Sprintf("%d MiB of memory, not %d", m.memory>>20, spec.MemoryMiB))
		}
		memory = m.memory
	}
	if m.cpus > 0 && cpus > float64(m.cpus) {
		capped = append([]string{fmt.Sprintf("%d core(s), not %s", m.cpus, strconv.FormatFloat(cpus, 'f', -1, 64))}, capped...)
		cpus = float64(m.cpus)
	}
	if len(capped) > 0 {
		say("the instance type is larger than this machine; the instance has %s", strings.Join(capped, ", and "))
	}
	return memory, cpus
}

func note(spec runner.InstanceSpec) func(string, ...any) {
	return func(format string, args ...any) { fmt.Fprintf(spec.Log, "amlocal: "+format+"\n", args...) }
}
