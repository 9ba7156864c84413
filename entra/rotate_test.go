package entra

import (
	"testing"
	"time"

	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/covers"
)

// interrupted is a clock that does something when it is asked for the nth time.
type interrupted struct {
	*clock.Manual
	in int
	do func()
}

func (c *interrupted) Now() time.Time {
	if c.in--; c.in == 0 {
		c.do()
	}
	return c.Manual.Now()
}

// TestRevocationWhileATokenIsMinted: wherever a revocation falls while a token
// is made, nobody who asks after it is handed what it ended.
func TestRevocationWhileATokenIsMinted(t *testing.T) {
	covers.R(t, "R-524")
	moments := 0
	for nth := 1; nth < 10; nth++ {
		stops := &interrupted{Manual: clock.NewManual(epoch)}
		w := newWorld(t, ownKeys, func(d *Deps) { d.Clock = stops })
		<-w.keys.ready
		stops.in, stops.do = nth, func() {
			if !w.keys.mu.TryLock() {
				return // whoever looks at the keys is not interrupted
			}
			w.keys.mu.Unlock()
			moments++
			if err := w.RotateKeys(t.Context(), true); err != nil {
				t.Error(err)
			}
		}
		if _, err := w.ManagedIdentityToken(t.Context(), userB, storageURI); err != nil {
			t.Fatal(err)
		}
		stops.in = 0
		after, err := w.ManagedIdentityToken(t.Context(), userB, storageURI)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Verify(t.Context(), after.Raw, storageAudiences); err != nil {
			t.Errorf("revoked at the clock's reading %d: the token handed out after it: %v", nth, err)
		}
	}
	if moments < 3 {
		t.Errorf("a token was interrupted at %d moments", moments)
	}
}
