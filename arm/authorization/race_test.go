package authorization_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/amlocal/amlocal/arm/armtest"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/rbac"
)

// The index learns of an assignment after its commit: uniqueness must not
// depend on it.
func TestOneOfManyEqualAssignmentsWins(t *testing.T) {
	covers.R(t, "R-1042")
	s, _ := start(t)
	owner, app := s.Owner(), s.Principal("app")
	var made, conflicts atomic.Int32
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			switch a := s.Do(owner, http.MethodPut, account+assignments+armtest.GUID(fmt.Sprint(i)), body(readerRole, app.ObjectID, "")); {
			case a.Status == http.StatusCreated:
				made.Add(1)
			case a.Code() == "RoleAssignmentExists":
				conflicts.Add(1)
			default:
				t.Errorf("%d %s", a.Status, a.Raw)
			}
		})
	}
	wg.Wait()
	if made.Load() != 1 || conflicts.Load() != 11 {
		t.Errorf("%d made, %d conflicts", made.Load(), conflicts.Load())
	}
	if n := len(s.Index.Assignments(rbac.Filter{PrincipalID: app.ObjectID})); n != 1 {
		t.Errorf("%d in the index", n)
	}
}
