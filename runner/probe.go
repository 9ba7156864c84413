package runner

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Probe defaults of a managed deployment (wire/endpoint-behaviour.md 2.4).
const (
	defaultInitialDelay     = 10 * time.Second
	defaultPeriod           = 10 * time.Second
	defaultTimeout          = 2 * time.Second
	defaultSuccessThreshold = 1
	defaultFailureThreshold = 30
)

// During start the server is asked much more often than its period says, so
// that a deployment is ready when its server is, not ten seconds later. A server
// that listens and is not ready yet keeps the question in its queue.
const (
	firstPoll = 20 * time.Millisecond
	lastPoll  = 100 * time.Millisecond
)

// withDefaults fills what the deployment left out.
func (p Probe) withDefaults(scoring Route) Probe {
	if p.Route.Port == 0 {
		p.Route.Port = scoring.Port
	}
	if p.Route.Path == "" {
		p.Route.Path = "/"
	}
	if p.InitialDelay <= 0 {
		p.InitialDelay = defaultInitialDelay
	}
	if p.Period <= 0 {
		p.Period = defaultPeriod
	}
	if p.Timeout <= 0 {
		p.Timeout = defaultTimeout
	}
	if p.SuccessThreshold <= 0 {
		p.SuccessThreshold = defaultSuccessThreshold
	}
	if p.FailureThreshold <= 0 {
		p.FailureThreshold = defaultFailureThreshold
	}
	return p
}

// patience is how long a start may take before the probe has failed often
// enough.
func (p Probe) patience() time.Duration {
	return p.InitialDelay + time.Duration(p.FailureThreshold)*p.Period
}

var errNoAnswer = errors.New("no answer")

// answer is what one probe got.
type answer struct {
	status int
	err    error
}

func (a answer) ok() bool { return a.err == nil && a.status == http.StatusOK }

func (a answer) String() string {
	if a.err != nil {
		return a.err.Error()
	}
	return fmt.Sprintf("status %d", a.status)
}

// ask probes once within the probe's timeout.
func ask(ctx context.Context, inst Instance, p Probe) answer {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	status, err := inst.Probe(ctx, p.Route)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w within %s", errNoAnswer, p.Timeout)
	}
	return answer{status, err}
}

// waitReady polls both probes until readiness passed SuccessThreshold times
// in a row and liveness once. It returns nil, a *Failure, or ctx's error.
func waitReady(ctx context.Context, inst Instance, spec Spec, tail func() string) error {
	type state struct {
		name     string
		probe    Probe
		need     int
		deadline <-chan time.Time
		last     answer
	}
	probes := []*state{
		{name: "liveness", probe: spec.Liveness, need: 1},
		{name: "readiness", probe: spec.Readiness, need: spec.Readiness.SuccessThreshold},
	}
	for _, s := range probes {
		timer := time.NewTimer(s.probe.patience())
		defer timer.Stop()
		s.deadline = timer.C
	}
	// A probe may hang in the server's backlog while init runs: it must not
	// hide that the process has ended.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, s := range probes {
		got, pause := 0, firstPoll
		results := make(chan answer, 1)
		probing := false
		next := time.NewTimer(0)
		defer next.Stop()
		for got < s.need {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-inst.Done():
				return &Failure{Kind: Crashed, Log: tail(),
					Message: fmt.Sprintf("the server of %s exited with code %d before it was ready", spec.Name, inst.ExitCode())}
			case <-s.deadline:
				why := "it was not answered"
				if s.last != (answer{}) {
					why = "the last answer was: " + s.last.String()
				}
				return &Failure{Kind: NotReady, Log: tail(),
					Message: fmt.Sprintf("the %s probe of %s, GET port %d %s, did not pass within %s (initial delay %s, then %d times %s); %s",
						s.name, spec.Name, s.probe.Route.Port, s.probe.Route.Path, s.probe.patience(),
						s.probe.InitialDelay, s.probe.FailureThreshold, s.probe.Period, why)}
			case a := <-results:
				probing, s.last = false, a
				if a.ok() {
					got++
				} else {
					got = 0
				}
				if errors.Is(a.err, errNoAnswer) {
					next.Reset(0) // it has waited long enough, in the server's queue
					continue
				}
				next.Reset(pause)
				pause = min(pause*3/2, lastPoll)
			case <-next.C:
				if !probing {
					probing = true
					go func() { results <- ask(ctx, inst, s.probe) }()
				}
			}
		}
	}
	return nil
}
