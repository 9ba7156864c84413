package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/internal/audit"
)

// remote is an emulator somewhere else, by its admin API.
type remote struct {
	access   amlocal.Access
	http     *http.Client
	answered int
	busy     time.Duration
}

// reach looks what runs there; what it did before is not counted.
func reach(ctx context.Context, access amlocal.Access) (*remote, error) {
	r := &remote{access: access, http: &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}, Timeout: 30 * time.Second}}
	var err error
	r.answered, r.busy, err = r.status(ctx)
	return r, err
}

func (r *remote) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.access.URL()+"/_amlocal/"+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+r.access.AdminToken)
	resp, err := r.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the emulator answered %s to %s", resp.Status, path)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

func (r *remote) status(ctx context.Context) (answered int, busy time.Duration, err error) {
	var s amlocal.Status
	if err := r.get(ctx, "status", &s); err != nil {
		return 0, 0, err
	}
	busy, err = time.ParseDuration(s.Busy)
	return s.Answered, busy, err
}

func (r *remote) spent(ctx context.Context) (int, time.Duration, error) {
	answered, busy, err := r.status(ctx)
	return max(answered-r.answered, 0), max(busy-r.busy, 0), err
}

func (r *remote) lastDenial(ctx context.Context) (entry audit.Entry, ok bool, err error) {
	var list struct{ Value []audit.Entry }
	if err := r.get(ctx, "decisions?last=1", &list); err != nil || len(list.Value) == 0 {
		return entry, false, err
	}
	return list.Value[0], true, nil
}
