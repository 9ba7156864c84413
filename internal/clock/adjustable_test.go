package clock

import (
	"encoding/json"
	"testing"
	"time"
)

func TestAdjustable(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	base := NewManual(start)
	a := NewAdjustable(base, Setting{})
	for _, step := range []struct {
		name string
		do   func()
		want time.Duration // after start
	}{
		{"runs with the base", func() { base.Advance(time.Minute) }, time.Minute},
		{"jumps and runs on", func() { a.Advance(time.Hour); base.Advance(time.Minute) }, time.Hour + 2*time.Minute},
		{"stands still", func() { a.Freeze(); base.Advance(24 * time.Hour) }, time.Hour + 2*time.Minute},
		{"jumps while it stands", func() { a.Advance(-time.Minute); base.Advance(time.Hour) }, time.Hour + time.Minute},
		{"is set while it stands", func() { a.Set(start.Add(-time.Hour)); base.Advance(time.Hour) }, -time.Hour},
		{"goes on from there", func() { a.Run(); base.Advance(time.Minute) }, -time.Hour + time.Minute},
		{"is set while it runs", func() { a.Set(start.In(time.FixedZone("", 3600))); base.Advance(time.Second) }, time.Second},
		{"runs already", func() { a.Run() }, time.Second},
		{"agrees again", func() { a.Freeze(); a.Reset() }, base.Now().Sub(start)},
	} {
		step.do()
		want := start.Add(step.want)
		if step.name == "agrees again" {
			want = base.Now()
		}
		if got := a.Now(); !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("%s: %s, want %s", step.name, got, want)
		}
	}
}

func TestAdjustableOutlivesARestart(t *testing.T) {
	base := NewManual(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	for _, frozen := range []bool{false, true} {
		a := NewAdjustable(base, Setting{})
		a.Advance(90 * time.Minute)
		if frozen {
			a.Freeze()
		}
		raw, err := json.Marshal(a.Setting())
		if err != nil {
			t.Fatal(err)
		}
		var s Setting
		if err := json.Unmarshal(raw, &s); err != nil {
			t.Fatal(err)
		}
		base.Advance(time.Second)
		if got, want := NewAdjustable(base, s).Now(), a.Now(); !got.Equal(want) {
			t.Errorf("frozen %t: %s, want %s", frozen, got, want)
		}
	}
}
