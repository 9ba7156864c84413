package rbac

import (
	"fmt"
	"slices"
	"time"

	"github.com/amlocal/amlocal/internal/clock"
)

// SetDelay makes assignments that are put or deleted from now on take effect d
// later on c's time, as Azure's do. What the index holds is in effect. Reading
// methods show a change at once; only Decide waits.
func (x *Index) SetDelay(c clock.Clock, d time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.clock, x.delay = c, d
}

// delayedLocked is when a change made now takes effect; zero: at once.
func (x *Index) delayedLocked() time.Time {
	if x.delay <= 0 {
		return time.Time{}
	}
	return x.clock.Now().Add(x.delay)
}

// leaving says that the assignment was deleted and may be in effect yet.
func (h *held) leaving() bool { return !h.until.IsZero() }

func (x *Index) inEffectLocked(h *held) bool {
	if h.from.IsZero() && h.until.IsZero() {
		return true
	}
	now := x.clock.Now()
	return !now.Before(h.from) && (h.until.IsZero() || now.Before(h.until))
}

// retireLocked keeps a deleted assignment where Decide finds it until its
// deletion takes effect. One that never was in effect is not kept.
func (x *Index) retireLocked(h *held) bool {
	x.retired = slices.DeleteFunc(x.retired, func(old *held) bool {
		over := !x.clock.Now().Before(old.until)
		if over {
			x.unlinkLocked(old)
		}
		return over
	})
	if x.delay <= 0 || !x.inEffectLocked(h) {
		return false
	}
	h.until = x.delayedLocked()
	x.retired = append(x.retired, h)
	return true
}

// unlinkLocked takes an assignment out of its principal's list.
func (x *Index) unlinkLocked(h *held) {
	if h.condition.readsStorage() {
		x.storageReaders.Add(-1)
	}
	scopes := x.byPrincipal[h.principal]
	rest := slices.DeleteFunc(scopes[h.scope], func(other *held) bool { return other == h })
	if scopes[h.scope] = rest; len(rest) == 0 {
		delete(scopes, h.scope)
	}
	if len(scopes) == 0 {
		delete(x.byPrincipal, h.principal)
	}
}

// pendingReason explains an assignment that would do and is not in effect.
func (x *Index) pendingReasonLocked(h *held) string {
	return fmt.Sprintf("takes effect at %s (role assignments take %s here)", h.from.UTC().Format(time.RFC3339), x.delay)
}
