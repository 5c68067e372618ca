package latent

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

func TestNext(t *testing.T) {
	type events = []Event
	tests := []struct {
		name   string
		keep   Keep
		events events
		want   Machine
		last   []Action // of the last event
	}{
		{"a build starts it", KeepTime, events{Want}, Machine{State: Starting, Call: StartCall, Builds: 1}, []Action{DoStart, TimeAttach}},
		{"two builds start it once", KeepTime, events{Want, Want}, Machine{State: Starting, Call: StartCall, Builds: 2}, nil},
		{"it is looked at until it connects", KeepTime, events{Want, StartOK}, Machine{State: Starting, Builds: 1}, []Action{TimeCheck}},
		{"a good look is followed by the next", KeepTime, events{Want, StartOK, CheckDue, CheckOK}, Machine{State: Starting, Builds: 1}, []Action{TimeCheck}},
		{"a bad one ends the start", KeepTime, events{Want, StartOK, CheckDue, CheckFailed}, Machine{State: Stopping, Call: StopCall, Builds: 1}, []Action{Refuse, Disarm, Disconnect, DoStop}},
		{"it connects", KeepTime, events{Want, StartOK, Connected}, Machine{State: Up, Attached: true, Builds: 1}, []Action{Disarm, Serve}},
		{"it connects before Start returned", KeepTime, events{Want, Connected}, Machine{State: Up, Call: StartCall, Attached: true, Builds: 1}, []Action{Disarm, Serve}},
		{"and is stopped only after that", KeepNot, events{Want, Connected, Release}, Machine{State: Stopping, Call: StartCall, Keep: KeepNot}, []Action{Disarm, Disconnect, Cancel}},
		{"then it is stopped", KeepNot, events{Want, Connected, Release, StartOK}, Machine{State: Stopping, Call: StopCall, Keep: KeepNot}, []Action{DoStop}},
		{"a failed start is stopped", KeepTime, events{Want, StartFailed}, Machine{State: Stopping, Call: StopCall, Builds: 1}, []Action{Refuse, Disarm, Disconnect, DoStop}},
		{"a start nobody wants any more is cancelled", KeepTime, events{Want, Release}, Machine{State: Stopping, Call: StartCall}, []Action{Disarm, Disconnect, Cancel}},
		{"one that is too late is stopped", KeepTime, events{Want, StartOK, Late}, Machine{State: Stopping, Call: StopCall, Builds: 1}, []Action{Refuse, Disarm, Disconnect, DoStop}},
		{"idle for a time", KeepTime, events{Want, StartOK, Connected, Release}, Machine{State: Up, Attached: true}, []Action{TimeIdle}},
		{"for no time", KeepNot, events{Want, StartOK, Connected, Release}, Machine{State: Stopping, Call: StopCall, Keep: KeepNot}, []Action{Disarm, Disconnect, DoStop}},
		{"for ever", KeepAlways, events{Want, StartOK, Connected, Release}, Machine{State: Up, Attached: true, Keep: KeepAlways}, nil},
		{"the next build has it at once", KeepTime, events{Want, StartOK, Connected, Release, Want}, Machine{State: Up, Attached: true, Builds: 1}, []Action{Disarm, Serve}},
		{"a lost connection is not the end", KeepTime, events{Want, StartOK, Connected, Lost}, Machine{State: Up, Builds: 1}, []Action{Disarm, TimeReturn}},
		{"it comes back", KeepTime, events{Want, StartOK, Connected, Lost, Connected}, Machine{State: Up, Attached: true, Builds: 1}, []Action{Disarm, Serve}},
		{"or does not", KeepTime, events{Want, StartOK, Connected, Lost, Late}, Machine{State: Stopping, Call: StopCall, Builds: 1}, []Action{Refuse, Disarm, Disconnect, DoStop}},
		{"a build waits for the stop", KeepNot, events{Want, StartOK, Connected, Release, Want}, Machine{State: Stopping, Call: StopCall, Keep: KeepNot, Builds: 1}, nil},
		{"then it starts again", KeepNot, events{Want, StartOK, Connected, Release, Want, StopOK}, Machine{State: Starting, Call: StartCall, Keep: KeepNot, Builds: 1}, []Action{Disarm, DoStart, TimeAttach}},
		{"a late connection is sent away", KeepTime, events{Want, Release, Connected}, Machine{State: Stopping, Call: StartCall}, []Action{Disconnect}},
		{"so is one that nobody started", KeepTime, events{Connected}, Machine{}, []Action{Disconnect}},
		{"a stop that fails is tried again", KeepNot, events{Want, StartOK, Connected, Release, StopFailed}, Machine{State: Stopping, Keep: KeepNot}, []Action{Refuse, TimeRetry}},
		{"when its time comes", KeepNot, events{Want, StartOK, Connected, Release, StopFailed, RetryDue}, Machine{State: Stopping, Call: StopCall, Keep: KeepNot}, []Action{DoStop}},
		{"what serves no waiting build is replaced", KeepTime, events{Want, StartOK, Connected, Release, Want, Unfit, StopOK}, Machine{State: Starting, Call: StartCall, Builds: 1}, []Action{Disarm, DoStart, TimeAttach}},
		{"the master stops during a start", KeepTime, events{Want, Close}, Machine{State: Stopping, Call: StartCall, Builds: 1, Closed: true}, []Action{Refuse, Disarm, Disconnect, Cancel}},
		{"and of one that is kept", KeepAlways, events{Want, StartOK, Connected, Close}, Machine{State: Stopping, Call: StopCall, Builds: 1, Keep: KeepAlways, Closed: true}, []Action{Refuse, Disarm, Disconnect, DoStop}},
		{"then nothing starts", KeepTime, events{Close, Want}, Machine{Builds: 1, Closed: true}, []Action{Refuse}},
		{"and a stop that fails is left to the ledger", KeepTime, events{Want, StartOK, Close, StopFailed}, Machine{State: Stopping, Builds: 1, Closed: true}, []Action{Refuse}},
		{"a retired worker drains", KeepTime, events{Want, StartOK, Connected, Retire}, Machine{State: Up, Attached: true, Builds: 1, Retired: true}, nil},
		{"and goes", KeepTime, events{Want, StartOK, Connected, Retire, Release}, Machine{State: Stopping, Call: StopCall, Retired: true}, []Action{Disarm, Disconnect, DoStop}},
		{"it is back in time", KeepTime, events{Want, StartOK, Connected, Retire, Restore, Release}, Machine{State: Up, Attached: true}, []Action{TimeIdle}},
		{"an earlier master's instance is waited for", KeepTime, events{Adopt}, Machine{State: Starting}, []Action{TimeAttach, TimeCheck}},
		{"and is idle then", KeepTime, events{Adopt, Connected}, Machine{State: Up, Attached: true}, []Action{Disarm, TimeIdle}},
		{"or stopped if nobody may keep it", KeepNot, events{Adopt}, Machine{State: Stopping, Call: StopCall, Keep: KeepNot}, []Action{Disarm, Disconnect, DoStop}},
		{"but not if its build goes on", KeepNot, events{Adopt, Want}, Machine{State: Stopping, Call: StopCall, Keep: KeepNot, Builds: 1}, nil},
		{"one without a handle is stopped", KeepTime, events{AdoptLost}, Machine{State: Stopping, Call: StopCall}, []Action{DoStop}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := Machine{Keep: tt.keep}
			var last []Action
			for _, e := range tt.events {
				m, last = m.Next(e)
			}
			if m != tt.want || !slices.Equal(last, tt.last) {
				t.Errorf("after %v: got %+v, %v; want %+v, %v", tt.events, m, last, tt.want, tt.last)
			}
		})
	}
}

// world is the provider and the builds, as the actions of a machine make them.
type world struct {
	m        Machine
	call     Call
	instance bool // Start was called, and no Stop succeeded since
}

// feed gives the machine an event and carries out what it says.
func (w *world) feed(e Event) error {
	was := w.m
	m, actions := w.m.Next(e)
	w.m = m
	for _, a := range actions {
		switch a {
		case DoStart, DoStop, DoCheck:
			if w.call != NoCall {
				return fmt.Errorf("%v in %+v: call %v while %v is under way", e, was, a, w.call)
			}
			w.call = map[Action]Call{DoStart: StartCall, DoStop: StopCall, DoCheck: CheckCall}[a]
			if a == DoStart {
				if w.instance {
					return fmt.Errorf("%v in %+v: a start without a stop", e, was)
				}
				w.instance = true
			}
		case Serve:
			if !m.Attached {
				return fmt.Errorf("%v in %+v: served by a worker that is not attached", e, was)
			}
		case Cancel:
			if w.call == NoCall || w.call == StopCall {
				return fmt.Errorf("%v in %+v: nothing to cancel", e, was)
			}
		}
	}
	switch {
	case m.Call != w.call:
		return fmt.Errorf("%v in %+v: the call is %v, the machine says %v", e, was, w.call, m.Call)
	case m.State == Down && (w.instance || m.Attached || m.Call != NoCall):
		return fmt.Errorf("%v in %+v: down, with an instance", e, was)
	case m.Attached && m.State != Up:
		return fmt.Errorf("%v in %+v: attached while %v", e, was, m.State)
	}
	return nil
}

// answer ends the call that is under way.
func (w *world) answer(good bool) error {
	e := map[Call][2]Event{StartCall: {StartFailed, StartOK}, CheckCall: {CheckFailed, CheckOK}, StopCall: {StopFailed, StopOK}}[w.call]
	stopped := w.call == StopCall && good
	w.call = NoCall
	if stopped {
		w.instance = false
	}
	if good {
		return w.feed(e[1])
	}
	return w.feed(e[0])
}

// Whatever happens, calls never overlap, every start has its stop, and once the provider
// does as it is told and the master stops nothing is left. BUILDSTAR_LATENT_STEPS is how
// many events to try, 20,000 by default.
func TestSimulation(t *testing.T) {
	steps, _ := strconv.Atoi(os.Getenv("BUILDSTAR_LATENT_STEPS"))
	steps = max(steps, 20_000)
	others := []Event{Want, Want, Want, Release, Release, Connected, Connected, Lost, CheckDue, Late, Idle, Unfit, RetryDue, Retire, Restore}
	done := 0
	defer func() { t.Logf("%d events", done) }()
	for done < steps {
		rapid.Check(t, func(t *rapid.T) {
			w := &world{m: Machine{Keep: Keep(rapid.IntRange(0, 2).Draw(t, "keep"))}}
			switch rapid.IntRange(0, 3).Draw(t, "adopted") {
			case 0:
				w.instance = true
				must(t, w.feed(Adopt))
			case 1:
				w.instance, w.call = true, StopCall
				w.m.State, w.m.Call = Stopping, StopCall
			}
			for range rapid.IntRange(10, 200).Draw(t, "steps") {
				done++
				if w.call != NoCall && rapid.IntRange(0, 2).Draw(t, "answer") == 0 {
					must(t, w.answer(rapid.Bool().Draw(t, "good")))
					continue
				}
				e := rapid.SampledFrom(others).Draw(t, "event")
				if e == Release && w.m.Builds == 0 {
					continue
				}
				must(t, w.feed(e))
			}
			must(t, w.feed(Close))
			for range 5 {
				if w.call != NoCall {
					must(t, w.answer(true))
				}
			}
			if w.m.State == Stopping && w.call == NoCall { // its last try had failed before
				t.Fatalf("left: %+v", w.m)
			}
			if w.m.State != Down || w.instance {
				t.Fatalf("left after Close: %+v, instance %v", w.m, w.instance)
			}
		})
	}
}

func must(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}
