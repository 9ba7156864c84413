package amlocal

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

// tick moves the lab's clock as `amlocal clock` does.
func (l *lab) tick(t *testing.T, do, value string) (s ClockStatus) {
	t.Helper()
	l.adminDo(t, http.MethodPost, "clock", map[string]string{"do": do, "value": value}, http.StatusOK, &s)
	return s
}

// TestClockMovesWhatItShould: tokens, signatures and records follow the clock;
// certificates and signed requests' dates do not.
func TestClockMovesWhatItShould(t *testing.T) {
	covers.C(t, sdk, "R-414")
	dir, ca := filepath.Join(t.TempDir(), "state"), t.TempDir()
	change := func(c *Config) { c.Ephemeral, c.StateDir, c.CADir = false, dir, ca }
	l := newLab(t, change)
	token := l.owner.token(t, forManagement)
	keyed := l.owner.keyed(t, accountOne)
	url, err := keyed.ServiceClient().NewContainerClient("box").NewBlobClient("hello.txt").GetSASURL(sas.BlobPermissions{Read: true}, time.Now().Add(2*time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	signed := func() answer {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		return l.do(t, r)
	}
	if a := l.armRaw(t, http.MethodGet, accountID(accountOne), token, ""); a.status != 200 {
		t.Fatalf("at first: %d %s", a.status, a.body)
	}
	if a := signed(); a.status != 200 {
		t.Fatalf("at first: %d %s", a.status, a.body)
	}
	s := l.tick(t, "advance", "3d")
	if s.Ahead != "72h0m0s" || s.Frozen {
		t.Errorf("clock %+v", s)
	}
	if a := l.armRaw(t, http.MethodGet, accountID(accountOne), token, ""); a.status != 401 || !strings.Contains(a.body, "ExpiredAuthenticationToken") {
		t.Errorf("three days later: %d %s", a.status, a.body)
	}
	if a := signed(); a.status != 403 || !strings.Contains(a.body, "AuthenticationFailed") {
		t.Errorf("three days later: %d %s", a.status, a.body)
	}
	if _, err := keyed.DownloadStream(t.Context(), "box", "hello.txt", nil); err != nil {
		t.Errorf("a signed request of today: %v", err)
	}
	l.owner = l.session(azure.SeedOwnerAppID, l.e.Access().OwnerSecret)
	l.account(t, "latecomer")
	made, err := l.owner.accounts(t).GetProperties(t.Context(), groupName, "latecomer", nil)
	if err != nil {
		t.Fatal(err)
	}
	if at := *made.Properties.CreationTime; time.Until(at) < 71*time.Hour {
		t.Errorf("created at %s", at)
	}
	frozen := l.tick(t, "freeze", "")
	closeEmulator(t, l.e)
	l = labOf(t, start(t, change))
	var after ClockStatus
	l.adminDo(t, http.MethodGet, "clock", nil, http.StatusOK, &after)
	if !after.Frozen || !after.Now.Equal(frozen.Now) {
		t.Errorf("after a restart %+v, want %+v", after, frozen)
	}
	if uptime, err := time.ParseDuration(l.e.Status().Uptime); err != nil || uptime > time.Hour {
		t.Errorf("up for %s (%v)", l.e.Status().Uptime, err)
	}
	if s := l.tick(t, "set", "2031-01-02"); !s.Frozen || !s.Now.Equal(time.Date(2031, 1, 2, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("set: %+v", s)
	}
	if _, err := l.owner.accounts(t).GetProperties(t.Context(), groupName, accountOne, nil); err != nil {
		t.Errorf("in 2031: %v", err) // the certificate's year is long over by this clock
	}
	if s := l.tick(t, "reset", ""); s.Frozen || s.Ahead != "0s" {
		t.Errorf("reset: %+v", s)
	}
}

func TestClockRefuses(t *testing.T) {
	l := labOf(t, start(t, nil))
	for _, tt := range [][3]string{
		{"advance", "soon", "no duration"}, {"advance", "", "no duration"}, {"advance", "2000000h", "between the years"}, {"set", "noon", "no time"},
		{"set", "0001-01-01", "between the years"}, {"stop", "", "none of freeze"}, {"advance", "99999999d", "no duration"},
	} {
		if raw := l.adminDo(t, http.MethodPost, "clock", map[string]string{"do": tt[0], "value": tt[1]}, http.StatusBadRequest, nil); !strings.Contains(raw, tt[2]) {
			t.Errorf("%s %q: %s lacks %q", tt[0], tt[1], raw, tt[2])
		}
	}
	if s := l.e.Clock(); s.Ahead != "0s" || s.Frozen {
		t.Errorf("a refusal moved the clock: %+v", s)
	}
}

// TestRolesTakeTheirTime: with a delay, both directions come late, and the
// explanation says when.
func TestRolesTakeTheirTime(t *testing.T) {
	covers.C(t, sdk, "R-122")
	l := newLab(t, func(c *Config) { c.RBACDelay = 5 * time.Minute })
	l.tick(t, "freeze", "")
	s := l.principal("reader")
	reads := func(want string) {
		t.Helper()
		_, err := s.blobs(t, accountOne).DownloadStream(t.Context(), "box", "hello.txt", nil)
		if want != "" {
			wantError(t, err, 403, want)
		} else if err != nil {
			t.Error(err)
		}
	}
	id := l.owner.grant(t, s.oid, "Storage Blob Data Reader", accountID(accountOne))
	reads("AuthorizationPermissionMismatch")
	denial, _ := l.e.LastDenial()
	var why strings.Builder
	Explain(&why, denial)
	at := l.e.Clock().Now.Add(5 * time.Minute).Format(time.RFC3339)
	if !strings.Contains(why.String(), "takes effect at "+at) {
		t.Errorf("it does not say %s:\n%s", at, why.String())
	}
	if got := l.owner.rolesOf(t, s.oid); len(got) != 1 {
		t.Errorf("it is listed at once: %v", got)
	}
	l.tick(t, "advance", "5m")
	reads("")
	l.owner.revoke(t, id)
	reads("")
	l.tick(t, "advance", "4m59s")
	reads("")
	l.tick(t, "advance", "1s")
	reads("AuthorizationPermissionMismatch")
}

// TestTokenCache: an identity is given one token until the cache's time is up,
// and roles do not wait for it.
func TestTokenCache(t *testing.T) {
	for _, tt := range []struct {
		name       string
		cache      time.Duration
		same, anew string
	}{
		{"by default half the token's day", 0, "11h59m", "1m"},
		{"an hour", time.Hour, "59m", "1m"},
		{"the whole day", 24 * time.Hour, "23h59m", "1m"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, func(c *Config) { c.TokenCache = tt.cache })
			l.tick(t, "freeze", "")
			uai := l.owner.uai(t, "mine")
			id := l.owner.grant(t, *uai.Properties.PrincipalID, "Storage Blob Data Reader", accountID(accountOne))
			first := l.tokenAs(t, "mine", forStorage)
			if a := l.readRaw(t, first, "2024-11-04"); a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			l.tick(t, "advance", tt.same)
			if l.tokenAs(t, "mine", forStorage) != first {
				t.Error("another token too early")
			}
			l.owner = l.session(azure.SeedOwnerAppID, l.e.Access().OwnerSecret)
			l.owner.revoke(t, id)
			if a := l.readRaw(t, first, "2024-11-04"); a.status != 403 {
				t.Errorf("a role that was taken away: %d %s", a.status, a.body)
			}
			l.tick(t, "advance", tt.anew)
			if l.tokenAs(t, "mine", forStorage) == first {
				t.Error("the same token too late")
			}
		})
	}
	for _, c := range []Config{{TokenCache: 25 * time.Hour}, {TokenCache: -1}, {RBACDelay: -1}} {
		if _, err := c.withDefaults(); err == nil {
			t.Errorf("taken: %+v", c)
		}
	}
}

// TestTokenCarriesItsGroups: with a token cache, who leaves a group keeps what
// it gave until the token is renewed, and who joins waits as long; a user, and
// everyone without the option, does not.
func TestTokenCarriesItsGroups(t *testing.T) {
	for _, cache := range []time.Duration{0, 24 * time.Hour} {
		t.Run(cache.String(), func(t *testing.T) {
			l := newLab(t, func(c *Config) { c.TokenCache = cache })
			l.tick(t, "freeze", "")
			l.owner.uai(t, "mine")
			l.add(t, "user", "alice")
			readers := l.add(t, "group", "readers")
			l.owner.grantTo(t, readers.ObjectID, "Storage Blob Data Reader", accountID(accountOne))
			join := func(path string, want int) {
				for _, who := range []string{"mine", "alice"} {
					l.adminDo(t, http.MethodPost, path, map[string]string{"group": "readers", "member": who}, want, nil)
				}
			}
			reads := func(when, who string, want int) {
				t.Helper()
				if a := l.readRaw(t, l.tokenAs(t, who, forStorage), "2024-11-04"); a.status != want {
					t.Errorf("%s %s reads: %d, want %d", when, who, a.status, want)
				}
			}
			late := func(now, cached int) int {
				if cache > 0 {
					return cached
				}
				return now
			}
			reads("at first", "mine", 403)
			l.tick(t, "advance", "1m")
			join("members", http.StatusCreated)
			reads("just joined,", "alice", 200)
			reads("just joined,", "mine", late(200, 403))
			l.tick(t, "advance", "24h")
			reads("a day later,", "mine", 200)
			l.tick(t, "advance", "1m")
			join("members/remove", http.StatusOK)
			reads("just left,", "alice", 403)
			reads("just left,", "mine", late(403, 200))
			l.tick(t, "advance", "24h")
			reads("a day later,", "mine", 403)
		})
	}
}
