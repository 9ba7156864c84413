package clock

import (
	"sync"
	"time"
)

// Setting is how an Adjustable stands to the clock below it. The zero value
// agrees with it.
type Setting struct {
	// Offset is how far it is ahead while it runs.
	Offset time.Duration `json:"offsetNs"`
	// Frozen is where it stands still; nil while it runs.
	Frozen *time.Time `json:"frozen,omitempty"`
}

// Adjustable runs with another clock until it is told to stand still or to
// jump. Safe for concurrent use.
type Adjustable struct {
	base Clock

	mu      sync.RWMutex
	setting Setting
}

// NewAdjustable runs with base, set as setting says.
func NewAdjustable(base Clock, setting Setting) *Adjustable {
	return &Adjustable{base: base, setting: setting.own()}
}

// Now is the adjusted time.
func (a *Adjustable) Now() time.Time {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.nowLocked()
}

func (a *Adjustable) nowLocked() time.Time {
	if a.setting.Frozen != nil {
		return *a.setting.Frozen
	}
	return a.base.Now().UTC().Add(a.setting.Offset)
}

// Setting says how the clock stands.
func (a *Adjustable) Setting() Setting {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.setting.own()
}

// Base is the clock below.
func (a *Adjustable) Base() Clock { return a.base }

// Freeze makes the clock stand still where it is.
func (a *Adjustable) Freeze() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.standLocked(a.nowLocked())
}

// Run lets the clock go on from where it is.
func (a *Adjustable) Run() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at := a.setting.Frozen; at != nil {
		a.setting = Setting{Offset: at.Sub(a.base.Now())}
	}
}

// Set makes it t; whether it stands or runs does not change.
func (a *Adjustable) Set(t time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.setLocked(t)
}

// Advance moves it by d, which may be negative; whether it stands or runs does
// not change.
func (a *Adjustable) Advance(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.setLocked(a.nowLocked().Add(d))
}

// Reset makes it agree with the clock below again.
func (a *Adjustable) Reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.setting = Setting{}
}

func (a *Adjustable) setLocked(t time.Time) {
	if a.setting.Frozen != nil {
		a.standLocked(t)
		return
	}
	a.setting = Setting{Offset: t.Sub(a.base.Now())}
}

func (a *Adjustable) standLocked(t time.Time) {
	t = t.UTC()
	a.setting = Setting{Frozen: &t}
}

// own is a copy that shares nothing.
func (s Setting) own() Setting {
	if s.Frozen != nil {
		at := s.Frozen.UTC()
		s.Frozen = &at
	}
	return s
}
