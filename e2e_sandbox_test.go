package amlocal

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/amlocal/amlocal/internal/covers"
)

// TestSandboxedInstances asks real clients inside a sandbox: what they find of
// Azure, and that there is nothing else.
func TestSandboxedInstances(t *testing.T) {
	covers.C(t, sdk, "R-502", "R-503", "R-516", "R-1001")
	l := newLab(t, nil)
	if !strings.HasPrefix(l.e.Status().Isolation, "sandboxed") {
		covers.NotRun(t, "sandbox", l.e.Status().Isolation)
	}
	mine := *l.owner.endpoint(t, "boxed", wish(nil)).Identity.PrincipalID
	l.owner.endpoint(t, "other", wish(nil))
	l.owner.deploy(t, "boxed", "blue", l.owner.instance(t))
	l.owner.deploy(t, "other", "blue", l.owner.instance(t))
	if log := l.owner.logs(t, "boxed", "blue", armmachinelearning.ContainerTypeStorageInitializer); !strings.Contains(log, "Runner: sandboxed") {
		t.Errorf("the log does not say how it runs:\n%s", log)
	}
	env := environment(l.ask(t, "boxed", "blue", question{Do: "environment"}).Environment)
	for name := range env {
		if strings.Contains(strings.ToUpper(name), "PROXY") {
			t.Errorf("the instance has %s", name)
		}
	}
	read := question{Do: "read", Account: accountOne, Container: "box", Blob: "hello.txt"}
	if got := l.ask(t, "boxed", "blue", read); got.Code != "AuthorizationPermissionMismatch" {
		t.Errorf("without a role: %+v", got)
	}
	l.owner.grant(t, mine, "Storage Blob Data Reader", containerID(accountOne, "box"))
	if got := l.ask(t, "boxed", "blue", read); got.Text != helloText {
		t.Errorf("by public name: %+v", got)
	}
	for name, known := range map[string]bool{
		accountOne + ".blob.core.windows.net": true, "nosuchaccount.blob.core.windows.net": false, "example.com": false,
	} {
		got := l.ask(t, "boxed", "blue", question{Do: "resolve", Account: name})
		if known != (got.Error == "") || !known && !strings.Contains(got.Error, "no such host") {
			t.Errorf("%s: %q %q", name, got.Text, got.Error)
		}
	}
	if log := l.owner.said(t, "boxed", "blue", "example.com does not resolve"); !strings.Contains(log, "example.com does not resolve") {
		t.Errorf("the log does not explain a name:\n%s", log)
	}
	// Only IMDS is left, which knows each instance by its socket.
	for _, endpoint := range []string{"boxed", "other"} {
		token := l.ask(t, endpoint, "blue", question{Do: "token", Resource: forStorage, Bare: true})
		if oid := claimsOf(t, token.Text)["oid"]; token.Error != "" || (oid == mine) != (endpoint == "boxed") {
			t.Errorf("IMDS in %s: a token of %v, %s", endpoint, oid, token.Error)
		}
	}
	read.Bare = true
	if got := l.ask(t, "boxed", "blue", read); got.Text != helloText {
		t.Errorf("with IMDS alone: %+v", got)
	}
	if got := l.ask(t, "other", "blue", read); got.Code != "AuthorizationPermissionMismatch" {
		t.Errorf("the other instance, with IMDS alone: %+v", got)
	}
}

// TestSandboxHides asks an instance to look for what is none of its business,
// while all of it is there to be found.
func TestSandboxHides(t *testing.T) {
	covers.C(t, sdk, "R-502", "R-516", "issue-4-sandbox")
	if runtime.GOOS != "linux" {
		covers.NotRun(t, "sandbox", "it needs Linux")
	}
	l := newLab(t, nil)
	if !strings.HasPrefix(l.e.Status().Isolation, "sandboxed") {
		covers.NotRun(t, "sandbox", l.e.Status().Isolation)
	}
	for _, name := range []string{"curious", "victim"} {
		l.owner.endpoint(t, name, wish(nil))
		l.owner.deploy(t, name, "blue", l.owner.instance(t))
	}
	victim := environment(l.ask(t, "victim", "blue", question{Do: "environment"}).Environment)
	mine := environment(l.ask(t, "curious", "blue", question{Do: "environment"}).Environment)
	secret := victim["MSI_SECRET"]
	if secret == "" || secret == mine["MSI_SECRET"] {
		t.Fatalf("the secrets are %q and %q", secret, mine["MSI_SECRET"])
	}
	if got := l.ask(t, "victim", "blue", question{Do: "try", Try: []string{"write /tmp/mark", "write " + victim["HOME"] + "/mark", "write /dev/shm/mark"}}).Tried; got["write /tmp/mark"] != "ok: " {
		t.Fatalf("%v", got)
	}
	host := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer func() { _ = host.Close() }()
	abstract := fmt.Sprintf("@amlocal-test-%d", os.Getpid())
	bus := must(net.Listen("unix", abstract))(t)
	defer func() { _ = bus.Close() }()
	private := filepath.Join(t.TempDir(), "private")
	if err := os.WriteFile(private, []byte("of the user"), 0o644); err != nil {
		t.Fatal(err)
	}
	home := must(os.UserHomeDir())(t)
	var agents, fronts []string
	for _, id := range must(filepath.Glob(l.e.path("runner", "instances", "*")))(t) {
		agents = append(agents, filepath.Join(id, "agent.sock"))
	}
	for _, d := range l.e.manager.Status() {
		for _, i := range d.Instances {
			fronts = append(fronts, must(url.Parse(i.URL))(t).Host)
		}
	}
	if len(agents) != 2 || len(fronts) != 2 {
		t.Fatalf("agents %v, fronts %v", agents, fronts)
	}

	const absent, refused = "no such file or directory", "connection refused"
	want := map[string]string{
		// Another instance's environment, secret, memory and files.
		"token " + secret:                     "401 Unauthorized",
		"read /tmp/mark":                      absent,
		"read " + mine["HOME"] + "/mark":      absent,
		"read /dev/shm/mark":                  absent,
		"read /proc/1/environ":                "permission denied",
		"memory 1":                            "permission denied",
		"list /proc/1/root":                   "permission denied",
		"list /proc/1/cwd":                    "permission denied",
		"list /proc/1/fd":                     "permission denied",
		"ptrace 1":                            "operation not permitted",
		fmt.Sprintf("ptrace %d", os.Getpid()): "no such process",
		// Its port, and whatever listens on this machine.
		"dial tcp " + fronts[0]:                    refused,
		"dial tcp " + fronts[1]:                    refused,
		"dial tcp " + host.Addr().String():         refused,
		"dial tcp " + l.e.listener.Addr().String(): refused,
		"dial unix " + abstract:                    refused,
		"dial unix " + agents[0]:                   absent,
		"dial unix " + agents[1]:                   absent,
		"dial unix /var/run/docker.sock":           absent,
		// The state folder and the user's files.
		"list " + l.e.config.StateDir:  absent,
		"read " + l.e.path("run.json"): absent,
		"read " + l.e.path("store"):    absent,
		"list " + home:                 absent,
		"read " + private:              absent,
		"list /home":                   "ok: dockeruser ",
		"list /run":                    "ok: amlocal ",
		"list /sys":                    absent,
		"read /etc/shadow":             absent,
	}
	attempts := slices.Collect(maps.Keys(want))
	attempts = append(attempts, "search "+secret, "search "+mine["MSI_SECRET"], "search "+l.e.config.StateDir, "list /proc", "token "+mine["MSI_SECRET"])
	got := l.ask(t, "curious", "blue", question{Do: "try", Try: attempts}).Tried
	for what, why := range want {
		if !strings.HasSuffix(got[what], why) {
			t.Errorf("%s: %q, want %q", what, got[what], why)
		}
	}
	// It does find its own: the search looks in the right place.
	if found := got["search "+mine["MSI_SECRET"]]; !strings.Contains(found, "/environ") {
		t.Errorf("its own secret: %q", found)
	}
	if found := got["token "+mine["MSI_SECRET"]]; found != "ok: 200 OK" {
		t.Errorf("a token with its own secret: %q", found)
	}
	for _, what := range []string{"search " + secret, "search " + l.e.config.StateDir} {
		if got[what] != "ok: " {
			t.Errorf("%s: %q", what, got[what])
		}
	}
	pids := 0
	for name := range strings.FieldsSeq(strings.TrimPrefix(got["list /proc"], "ok: ")) {
		if strings.Trim(name, "0123456789") == "" {
			pids++
		}
	}
	if pids != 2 { // the agent and itself
		t.Errorf("it sees %d processes: %s", pids, got["list /proc"])
	}
}

// serveInJava answers a score with what an unsigned request to a blob gets: that
// it gets an answer of the service shows that the certificate was trusted.
const serveInJava = `
import com.sun.net.httpserver.HttpServer;
import java.net.*;

public class Serve {
	static String ask() {
		try {
			var c = (HttpURLConnection) new URL(System.getenv("ASK")).openConnection();
			return c.getResponseCode() + " " + c.getHeaderField("x-ms-error-code");
		} catch (Exception e) {
			return e.toString();
		}
	}
	public static void main(String[] args) throws Exception {
		var server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(System.getenv("AMLOCAL_PORT_8080"))), 0);
		server.createContext("/", exchange -> {
			byte[] answer = (exchange.getRequestMethod().equals("POST") ? ask() : "ok").getBytes();
			exchange.sendResponseHeaders(200, answer.length);
			exchange.getResponseBody().write(answer);
			exchange.close();
		});
		server.start();
	}
}
`

// TestSandboxedJava: a Java server trusts the emulator though nothing in its
// deployment says so.
func TestSandboxedJava(t *testing.T) {
	covers.C(t, "java.net.HttpURLConnection", "R-503", "R-516")
	java, err := exec.LookPath("java")
	if _, noCompiler := exec.LookPath("javac"); err != nil || noCompiler != nil {
		covers.NotRun(t, "java in a sandbox", "java and javac are not installed")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Serve.java"), []byte(serveInJava), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("javac", "-nowarn", "-Xlint:-deprecation", "-d", dir, filepath.Join(dir, "Serve.java")).CombinedOutput(); err != nil {
		t.Fatalf("javac: %v\n%s", err, out)
	}
	world := filepath.Join(dir, "world.yaml")
	text := "accounts:\n  - name: " + accountOne + "\nimages:\n  amlocal/java:1: [" + java + ", -XX:TieredStopAtLevel=1, -cp, " + dir + ", Serve]\n"
	if err := os.WriteFile(world, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l := newLab(t, func(c *Config) { c.World = world })
	if !strings.HasPrefix(l.e.Status().Isolation, "sandboxed") {
		covers.NotRun(t, "sandbox", l.e.Status().Isolation)
	}
	l.owner.endpoint(t, "java", wish(nil))
	l.owner.deploy(t, "java", "blue", deployment(l.owner.image(t, "java", "amlocal/java:1"), func(m *armmachinelearning.ManagedOnlineDeployment) {
		m.EnvironmentVariables["ASK"] = to.Ptr("https://" + accountOne + ".blob.core.windows.net/box/hello.txt")
		m.EnvironmentVariables["JAVA_TOOL_OPTIONS"] = to.Ptr("-Dof.the.deployment=1")
	}))
	got := l.score(t, "java", "blue", *l.owner.keys(t, "java").PrimaryKey, "{}")
	if got.status != 200 || !strings.HasPrefix(got.body, "40") || strings.Contains(got.body, "Exception") {
		t.Errorf("%d %s\n%s", got.status, got.body, l.owner.logs(t, "java", "blue", armmachinelearning.ContainerTypeInferenceServer))
	}
}
