package amlocal

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/amlocal/amlocal/internal/clock"
)

// clockFile keeps how the clock was set.
const clockFile = "clock.json"

// ClockStatus is what `amlocal clock show` shows.
type ClockStatus struct {
	Now     time.Time `json:"now"`
	Frozen  bool      `json:"frozen"`
	Machine time.Time `json:"machine"`
	// Ahead is how far it is ahead of the machine's, e.g. "-1h30m0s".
	Ahead string `json:"ahead"`
}

// ErrClock refuses to set a clock that was given from outside, or to a time
// that cannot be.
var ErrClock = errors.New("the clock cannot be set so")

// openClock makes the clock the emulator goes by, as it was left. One given
// in the Config is used as it is.
func (e *Emulator) openClock() error {
	if e.config.Clock != nil {
		e.clock, _ = e.config.Clock.(*clock.Adjustable)
		return nil
	}
	var setting clock.Setting
	if !e.config.Ephemeral {
		if err := readJSON(e.path(clockFile), &setting); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	e.clock = clock.NewAdjustable(clock.System{}, setting)
	e.config.Clock = e.clock
	return nil
}

// Clock says how the emulator's clock stands.
func (e *Emulator) Clock() ClockStatus {
	now, machine := e.config.Clock.Now(), e.clientClock().Now()
	s := ClockStatus{Now: now, Machine: machine, Ahead: now.Sub(machine).Round(time.Second).String()}
	if e.clock != nil {
		s.Frozen = e.clock.Setting().Frozen != nil
	}
	return s
}

// SetClock freezes the clock, lets it run, moves it by a duration, sets it to a
// time, or makes it agree with the machine's again: do is freeze, run, advance,
// set or reset. Tokens, signatures, operation times and delayed roles follow
// it; certificates, and the freshness of requests signed with an account key,
// go by the machine's clock, as the clients that make them do.
func (e *Emulator) SetClock(do, value string) (ClockStatus, error) {
	if e.clock == nil {
		return ClockStatus{}, cannot(ErrClock, "the clock was given by the program that runs this emulator")
	}
	var at time.Time
	var by time.Duration
	var err error
	switch do {
	case "advance":
		by, err = parseDuration(value)
		at = e.clock.Now().Add(by)
	case "set":
		at, err = parseTime(value)
	case "freeze", "run", "reset":
		at = e.clock.Now()
	default:
		err = fmt.Errorf("%q is none of freeze, run, advance, set and reset", do)
	}
	if err == nil && (at.Year() < 2000 || at.Year() > 2200) {
		err = fmt.Errorf("%s is not between the years 2000 and 2200", at.Format(time.RFC3339))
	}
	if err != nil {
		return ClockStatus{}, cannot(ErrClock, "%v", err)
	}
	switch do {
	case "freeze":
		e.clock.Freeze()
	case "run":
		e.clock.Run()
	case "reset":
		e.clock.Reset()
	case "advance":
		e.clock.Advance(by)
	case "set":
		e.clock.Set(at)
	}
	e.config.Logf("the clock was told to %s %s: it is %s", do, value, e.clock.Now().Format(time.RFC3339))
	if e.config.Ephemeral {
		return e.Clock(), nil
	}
	return e.Clock(), writeJSON(e.path(clockFile), e.clock.Setting())
}

// parseDuration is time.ParseDuration with days: 7d, -1d, 36h, 5m.
func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > -100_000 && n < 100_000 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is no duration such as 90s, 5m, 36h, 7d or -1h", s)
	}
	return d, nil
}

func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time such as 2026-03-01T12:00:00Z or 2026-03-01 (UTC)", s)
}

// adminClock is the part of the admin API about time.
func (e *Emulator) adminClock(r *mux.Router) {
	r.Methods(http.MethodGet).Path("/_amlocal/clock").HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, e.Clock())
	})
	r.Methods(http.MethodPost).Path("/_amlocal/clock").HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var ask struct{ Do, Value string }
		if !readBody(w, r, &ask) {
			return
		}
		status, err := e.SetClock(ask.Do, ask.Value)
		if errors.Is(err, ErrClock) {
			adminError(w, http.StatusBadRequest, err.Error())
			return
		}
		adminReply(w, http.StatusOK, status, err)
	})
}

// clientClock is the time of those who sign requests on this machine. A clock
// given in the Config is everybody's.
func (e *Emulator) clientClock() clock.Clock {
	if e.clock != nil {
		return e.clock.Base()
	}
	return e.config.Clock
}
