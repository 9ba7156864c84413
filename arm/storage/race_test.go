package storage_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/amlocal/amlocal/arm/armtest"
)

func TestOneOfManyEqualNamesWins(t *testing.T) {
	s, p, _ := start(t)
	owner := s.Owner()
	var made [2]atomic.Int32
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			group := []string{armtest.Group, armtest.OtherGroup}[i%2]
			switch a := s.Do(owner, http.MethodPut, group+under+"/acct", plain); {
			case a.Status == http.StatusOK:
				made[i%2].Add(1)
			case a.Code() != "StorageAccountAlreadyTaken":
				t.Errorf("%d %s", a.Status, a.Raw)
			}
		})
	}
	wg.Wait()
	if (made[0].Load() == 6) == (made[1].Load() == 6) || made[0].Load()+made[1].Load() != 6 {
		t.Errorf("%d made in one group, %d in the other", made[0].Load(), made[1].Load())
	}
	account, ok, _ := p.Account(t.Context(), "acct")
	winner := armtest.Group
	if made[1].Load() > 0 {
		winner = armtest.OtherGroup
	}
	if !ok || !strings.HasPrefix(account.ResourceID, winner+"/") {
		t.Errorf("the data plane has %s", account.ResourceID)
	}
}
