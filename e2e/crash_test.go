package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

// kills is how often TestKill kills the emulator.
const kills = 56

// crashBox is the container the blobs go to; counter is the blob that is
// overwritten all the time.
const (
	crashBox = "crash"
	counter  = "counter"
)

// ledger is what the emulator acknowledged.
type ledger struct {
	mu          sync.Mutex
	blobs       []string // their content follows from the name
	accounts    []string
	endpoints   map[string]string // name: primary key
	assignments []string          // resource ids
	counted     int               // the counter's last acknowledged value
	asked       int               // and the last one sent
	serial      int
}

func (l *ledger) next() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serial++
	return l.serial
}

func (l *ledger) note(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// acknowledged is how many blobs are to be found again.
func (l *ledger) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.blobs)
}

// blobName names a blob by number and size: small ones lie in the database,
// larger ones in files.
func blobName(n int) string {
	size := rand.IntN(4096)
	if n%3 == 0 {
		size = 4097 + rand.IntN(200_000)
	}
	return fmt.Sprintf("blob-%d-%d", n, size)
}

// content is what a blob of that name holds.
func content(name string) []byte {
	size, err := strconv.Atoi(name[strings.LastIndexByte(name, '-')+1:])
	if err != nil {
		return nil
	}
	return bytes.Repeat([]byte(name+"\n"), size/(len(name)+1)+1)[:size]
}

// writers write until ctx ends, and note what was acknowledged. Errors are the
// kill's doing; what the emulator refuses while it lives is not.
type writers struct {
	t     *testing.T
	owner *owner
	blobs *azblob.Client
	tried atomic.Int64 // endpoints
	*ledger
}

func (w *writers) run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, write := range []func(context.Context){w.blob, w.blob, w.count, w.account, w.endpoint} {
		wg.Go(func() {
			for ctx.Err() == nil {
				write(ctx)
			}
		})
	}
	wg.Wait()
}

func (w *writers) blob(ctx context.Context) {
	name := blobName(w.next())
	if _, err := w.blobs.UploadBuffer(ctx, crashBox, name, content(name), nil); w.ok(ctx, err) {
		w.note(func() { w.ledger.blobs = append(w.ledger.blobs, name) })
	}
}

func (w *writers) count(ctx context.Context) {
	var n int
	w.note(func() { w.asked++; n = w.asked })
	if _, err := w.blobs.UploadBuffer(ctx, crashBox, counter, []byte(strconv.Itoa(n)), nil); w.ok(ctx, err) {
		w.note(func() { w.counted = n })
	}
}

// account makes an account, and a role assignment on it.
func (w *writers) account(ctx context.Context) {
	name := fmt.Sprintf("crash%d", w.next())
	if !w.ok(ctx, w.owner.account(ctx, name)) {
		return
	}
	w.note(func() { w.accounts = append(w.accounts, name) })
	guid, scope := uuid.NewString(), groupID+"/providers/Microsoft.Storage/storageAccounts/"+name
	if w.ok(ctx, w.owner.grant(ctx, guid, azure.SeedOwnerObjectID, blobReader, scope)) {
		w.note(func() {
			w.assignments = append(w.assignments, scope+"/providers/Microsoft.Authorization/roleAssignments/"+guid)
		})
	}
}

// maxEndpoints stays below the hundred a subscription can have.
const maxEndpoints = 90

func (w *writers) endpoint(ctx context.Context) {
	if w.tried.Add(1) > maxEndpoints {
		return
	}
	name := fmt.Sprintf("crash-%d", w.next())
	if _, err := w.owner.endpoint(ctx, name); !w.ok(ctx, err) {
		return
	}
	keys, err := w.owner.endpoints.ListKeys(ctx, group, workspace, name, nil)
	if w.ok(ctx, err) {
		w.note(func() { w.endpoints[name] = *keys.PrimaryKey })
	}
}

// ok says whether a write was acknowledged. An answer that refuses it is a
// fault, for nothing asked here may be refused.
func (w *writers) ok(ctx context.Context, err error) bool {
	if err != nil && ctx.Err() == nil && strings.Contains(err.Error(), "RESPONSE 4") {
		w.t.Errorf("refused: %v", err)
	}
	return err == nil
}

// verify looks for what was acknowledged: a sample, or all of it.
func (w *writers) verify(all bool) {
	t, ctx := w.t, w.t.Context()
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range pick(w.ledger.blobs, 6, all) {
		if got, err := w.read(ctx, name); err != nil || !bytes.Equal(got, content(name)) {
			t.Errorf("blob %s: %d bytes, %v", name, len(got), err)
		}
	}
	got, err := w.read(ctx, counter)
	n, convErr := strconv.Atoi(string(got))
	if w.counted > 0 && (err != nil || convErr != nil || n < w.counted || n > w.asked) {
		t.Errorf("the counter is %q (%v), acknowledged was %d, sent %d", got, err, w.counted, w.asked)
	}
	for _, name := range pick(w.accounts, 2, all) {
		if a, err := w.owner.accounts.GetProperties(ctx, group, name, nil); err != nil || string(*a.Properties.ProvisioningState) != "Succeeded" {
			t.Errorf("account %s: %v", name, err)
		}
	}
	for _, id := range pick(w.assignments, 2, all) {
		if a, err := w.owner.assignments.GetByID(ctx, id, nil); err != nil || *a.Properties.PrincipalID != azure.SeedOwnerObjectID {
			t.Errorf("assignment %s: %v", id, err)
		}
	}
	names := make([]string, 0, len(w.endpoints))
	for name := range w.endpoints {
		names = append(names, name)
	}
	for _, name := range pick(names, 2, all) {
		if e, err := w.owner.endpoints.Get(ctx, group, workspace, name, nil); err != nil || string(*e.Properties.ProvisioningState) != "Succeeded" {
			t.Errorf("endpoint %s: %v", name, err)
		}
		if keys, err := w.owner.endpoints.ListKeys(ctx, group, workspace, name, nil); err != nil || *keys.PrimaryKey != w.endpoints[name] {
			t.Errorf("the key of endpoint %s has changed: %v", name, err)
		}
	}
}

func (w *writers) read(ctx context.Context, name string) ([]byte, error) {
	resp, err := w.blobs.DownloadStream(ctx, crashBox, name, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// pick takes some of the list, the newest for certain, or all.
func pick(list []string, n int, all bool) []string {
	if all || len(list) <= n {
		return list
	}
	out := slices.Clone(list[len(list)-n/2:])
	for len(out) < n {
		out = append(out, list[rand.IntN(len(list))])
	}
	return out
}

// nothingHalf wants every blob that is there whole, acknowledged or not, and
// every endpoint and account ended.
func (w *writers) nothingHalf() {
	t, ctx := w.t, w.t.Context()
	t.Helper()
	for pages := w.blobs.NewListBlobsFlatPager(crashBox, nil); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range page.Segment.BlobItems {
			if *b.Name == counter {
				continue
			}
			if got, err := w.read(ctx, *b.Name); err != nil || !bytes.Equal(got, content(*b.Name)) {
				t.Errorf("blob %s is listed and not whole: %d bytes, %v", *b.Name, len(got), err)
			}
		}
	}
	deadline := time.Now().Add(time.Minute)
	for pages := w.owner.endpoints.NewListPager(group, workspace, nil); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Value {
			for state := string(*e.Properties.ProvisioningState); state != "Succeeded" && state != "Failed"; {
				if time.Now().After(deadline) {
					t.Fatalf("endpoint %s stays %s: its operation was not resumed", *e.Name, state)
				}
				time.Sleep(20 * time.Millisecond)
				got, err := w.owner.endpoints.Get(ctx, group, workspace, *e.Name, nil)
				if err != nil {
					t.Fatal(err)
				}
				state = string(*got.Properties.ProvisioningState)
			}
		}
	}
}

// TestKill kills the emulator again and again while clients write, and finds
// everything it ever acknowledged.
func TestKill(t *testing.T) {
	covers.C(t, sdk, "issue-3-kill")
	s := newSite(t)
	first := s.start("--durability", "process")
	o := s.owner()
	token, err := o.cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://management.azure.com/.default"}})
	if err != nil {
		t.Fatal(err)
	}
	w := &writers{t: t, owner: o, blobs: o.keyed(t, azure.SeedStorageAccount), ledger: &ledger{endpoints: map[string]string{}}}
	if _, err := w.blobs.CreateContainer(t.Context(), crashBox, nil); err != nil {
		t.Fatal(err)
	}

	for round, running := 0, first; round < kills; round++ {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		before := w.acknowledged()
		go func() { defer close(done); w.run(ctx) }()
		time.Sleep(time.Duration(10+rand.IntN(150)) * time.Millisecond)
		// On a busy machine that may be too soon for anything to be lost.
		for end := time.Now().Add(10 * time.Second); w.acknowledged() == before && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		running.kill()
		cancel()
		<-done

		durability := "process"
		if round%6 == 5 {
			durability = "power"
		}
		if round%8 == 7 { // killed while it starts
			r := s.begin("--durability", durability)
			time.Sleep(time.Duration(rand.IntN(80)) * time.Millisecond)
			r.kill()
		}
		running = s.start("--durability", durability)
		w.verify(false)
		if t.Failed() || round == kills-1 {
			w.verify(true)
			w.nothingHalf()
			checkToken(t, s, token.Token)
			running.stop()
			break
		}
	}
	w.mu.Lock()
	t.Logf("%d kills: %d blobs, %d accounts, %d assignments, %d endpoints, counter %d of %d",
		kills, len(w.ledger.blobs), len(w.accounts), len(w.assignments), len(w.endpoints), w.counted, w.asked)
	if len(w.ledger.blobs) < kills || len(w.accounts) == 0 || len(w.assignments) == 0 || len(w.endpoints) == 0 {
		t.Error("too little was written to prove anything")
	}
	w.mu.Unlock()
}

// checkToken: a token from before the kills still opens doors.
func checkToken(t *testing.T, s *site, token string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://management.azure.com"+groupID+"?api-version=2021-04-01", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := s.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the token of before: %s", resp.Status)
	}
}
