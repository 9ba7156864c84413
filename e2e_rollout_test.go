package amlocal

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

// TestRollout is the documented safe rollout under a load that never pauses:
// every answer must be 200 and right.
func TestRollout(t *testing.T) {
	covers.C(t, sdk, "R-609", "R-610", "R-611")
	rollout(t, newLab(t, nil), "amlocal/goscorer:1")
}

// TestRolloutContainers is TestRollout with containers.
func TestRolloutContainers(t *testing.T) {
	covers.C(t, sdk, "R-609", "R-610")
	needDocker(t)
	ref := fmt.Sprintf("amlocal-test/rollout:%d", os.Getpid())
	scratch(t, ref, static(t, t.TempDir(), "./scenarios/goscorer"), `["/goscorer", "-port", "8080"]`)
	rollout(t, dockerLab(t), ref)
}

func rollout(t *testing.T, l *lab, image string) {
	const endpoint = "rollout"
	s := l.owner
	principal := *s.endpoint(t, endpoint, wish(nil)).Identity.PrincipalID
	s.grant(t, principal, "Storage Blob Data Reader", containerID(accountOne, "box"))
	environment, model := s.image(t, "rollout", image), s.scorerModel(t)
	body := func(instances int32) armmachinelearning.OnlineDeployment {
		d := deployment(environment, func(m *armmachinelearning.ManagedOnlineDeployment) {
			m.Model = &model
			m.EnvironmentVariables = map[string]*string{"STORAGE_ACCOUNT_NAME": to.Ptr(accountOne), "STORAGE_CONTAINER_NAME": to.Ptr("box"), "FILE_NAME": to.Ptr("hello.txt")}
		})
		d.SKU.Capacity = &instances
		return d
	}
	mirror := func(shares map[string]int32) {
		t.Helper()
		got, err := s.endpoints(t).Get(t.Context(), groupName, wsName, endpoint, nil)
		if err != nil {
			t.Fatal(err)
		}
		got.Properties.MirrorTraffic = map[string]*int32{}
		for name, share := range shares {
			got.Properties.MirrorTraffic[name] = to.Ptr(share)
		}
		if _, err := s.tryEndpoint(t.Context(), t, endpoint, got.OnlineEndpoint); err != nil {
			t.Fatal(err)
		}
	}
	traffic := func(shares map[string]int32) {
		t.Helper()
		if err := s.traffic(t, endpoint, shares); err != nil {
			t.Fatal(err)
		}
	}

	s.deploy(t, endpoint, "blue", body(1))
	traffic(map[string]int32{"blue": 100})
	key := *s.keys(t, endpoint).PrimaryKey
	load := startLoad(t, l, endpoint, key)
	defer load.stop()

	load.during("blue alone", map[string]bool{"blue": true})
	s.deploy(t, endpoint, "blue", body(2))
	load.during("blue twice", map[string]bool{"blue": true})
	s.deploy(t, endpoint, "green", body(1))
	load.during("green without traffic", map[string]bool{"blue": true})
	for range 10 {
		if got := l.score(t, endpoint, "green", key, load.body); got.status != http.StatusOK || got.body != load.want || got.header.Get("azureml-model-deployment") != "green" {
			t.Fatalf("green by its header: %d %s from %q", got.status, got.body, got.header.Get("azureml-model-deployment"))
		}
	}
	mirror(map[string]int32{"green": 10})
	load.during("green mirrors", map[string]bool{"blue": true})
	waitMirrored(t, l, load)
	mirror(nil)
	traffic(map[string]int32{"blue": 90, "green": 10})
	load.during("90 to 10", map[string]bool{"blue": true, "green": true})
	traffic(map[string]int32{"blue": 0, "green": 100})
	if err := s.deleteDeployment(t, endpoint, "blue"); err != nil {
		t.Fatal(err)
	}
	load.during("green alone", map[string]bool{"green": true})
	load.stop()
	if got := l.score(t, endpoint, "blue", key, load.body); got.status != http.StatusNotFound {
		t.Errorf("the deleted blue: %d %s", got.status, got.body)
	}
	t.Logf("%d answers, all right", load.total())
}

// load asks an endpoint for the same thing all the time.
type load struct {
	t          *testing.T
	body, want string
	cancel     context.CancelFunc
	running    sync.WaitGroup

	mu     sync.Mutex
	moved  *sync.Cond
	failed string
	by     map[string]int // answers by deployment
	ended  [4]int         // requests by asker
}

// phase is how many answers a phase of the rollout lasts.
const phase = 150

func startLoad(t *testing.T, l *lab, endpoint, key string) *load {
	t.Helper()
	const rows = `{"data":[[1,2,3,4,5,6,7,8,9,10],[10,9,8,7,6,5,4,3,2,1]]}`
	first := l.score(t, endpoint, "", key, rows)
	if first.status != http.StatusOK || !strings.HasPrefix(first.body, "[") {
		t.Fatalf("score: %d %s", first.status, first.body)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ld := &load{t: t, body: rows, want: first.body, cancel: cancel, by: map[string]int{}}
	ld.moved = sync.NewCond(&ld.mu)
	transport := l.http.Transport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 8
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport}
	target := (&url.URL{Scheme: "https", Host: endpoint + "." + azure.SeedLocation + ".inference.ml.azure.com", Path: "/score"}).String()
	for i := range ld.ended {
		ld.running.Go(func() {
			for ctx.Err() == nil {
				ld.ask(ctx, client, target, key)
				ld.mu.Lock()
				ld.ended[i]++
				ld.mu.Unlock()
				ld.moved.Broadcast()
			}
		})
	}
	return ld
}

// ask notes an answer, or the first failure.
func (l *load) ask(ctx context.Context, client *http.Client, target, key string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(l.body))
	if err != nil {
		l.note("", err.Error())
		return
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	if err != nil {
		if ctx.Err() == nil {
			l.note("", err.Error())
		}
		return
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	by := resp.Header.Get("azureml-model-deployment")
	switch {
	case ctx.Err() != nil:
	case err != nil:
		l.note(by, err.Error())
	case resp.StatusCode != http.StatusOK || string(raw) != l.want:
		l.note(by, fmt.Sprintf("%s from %q: %s", resp.Status, by, raw))
	default:
		l.note(by, "")
	}
}

func (l *load) note(by, failure string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.by[by]++
	if failure != "" && l.failed == "" {
		l.failed = failure
	}
	l.moved.Broadcast()
}

// during waits for the answers of a phase, and wants exactly these deployments
// to give them.
func (l *load) during(name string, want map[string]bool) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	before := maps.Clone(l.by)
	// What each was asking as this began belongs to the phase before.
	for i, ended := range l.ended {
		for l.ended[i] == ended && l.failed == "" {
			l.moved.Wait()
		}
	}
	clear(l.by)
	l.waitLocked(name, phase)
	for by := range l.by {
		if !want[by] {
			l.t.Errorf("%s: %q answered", name, by)
		}
	}
	for by := range want {
		if l.by[by] == 0 {
			l.t.Errorf("%s: %s did not answer once in %d", name, by, phase)
		}
	}
	for by, n := range before {
		l.by[by] += n
	}
}

// waitLocked waits for so many more answers.
func (l *load) waitLocked(name string, more int) {
	l.t.Helper()
	for until := l.totalLocked() + more; l.totalLocked() < until && l.failed == ""; {
		l.moved.Wait()
	}
	if l.failed != "" {
		l.t.Fatalf("%s: after %d answers: %s", name, l.totalLocked(), l.failed)
	}
}

func (l *load) totalLocked() (n int) {
	for _, count := range l.by {
		n += count
	}
	return n
}

func (l *load) total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.totalLocked()
}

// stop ends the load, and the test if any answer was wrong.
func (l *load) stop() {
	l.t.Helper()
	l.cancel()
	l.running.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != "" {
		l.t.Errorf("under load: %s", l.failed)
	}
}

// waitMirrored waits until a copy was answered while the load goes on.
func waitMirrored(t *testing.T, l *lab, ld *load) {
	t.Helper()
	for range 100 {
		for _, e := range l.e.audit.Recent(1000, false) {
			if e.Operation == "gateway.Mirror" && e.Status == http.StatusOK && e.Instance == "rollout/green" {
				return
			}
		}
		ld.mu.Lock()
		ld.waitLocked("until a copy was answered", 10)
		ld.mu.Unlock()
	}
	t.Fatal("no request was mirrored")
}
