package latent

// State is where the instance of a worker is in its life.
type State uint8

const (
	Down     State = iota // there is no instance
	Starting              // it is being started, or has not connected yet
	Up                    // it connected; Machine.Attached says whether it still is
	Stopping              // it is being stopped, until the provider says that it is gone
)

func (s State) String() string { return [...]string{"down", "starting", "up", "stopping"}[s] }

// Call is a call of the backend that is under way.
type Call uint8

const (
	NoCall Call = iota
	StartCall
	CheckCall
	StopCall
)

// Keep is what happens to an instance without builds.
type Keep uint8

const (
	KeepTime   Keep = iota // it is stopped after build_wait_timeout
	KeepNot                // it is stopped at once
	KeepAlways             // it is stopped when the master is
)

// Event is something that happened to a worker.
type Event uint8

const (
	Want        Event = iota // a build needs the worker
	Release                  // a build that wanted it does not need it any more
	StartOK                  // Start returned a handle
	StartFailed              // Start failed, or was cancelled
	Connected                // the worker is attached
	Lost                     // its connection ended
	CheckDue                 // its time came
	CheckOK                  // Check returned
	CheckFailed              // Check says that the worker will never connect
	Late                     // the worker did not connect in time, or did not come back
	Idle                     // build_wait_timeout is over
	Unfit                    // a build waits that the instance cannot serve; no build runs on it
	StopOK                   // Stop succeeded
	StopFailed               // Stop failed
	RetryDue                 // the time to try to stop again came
	Close                    // the master stops
	Retire                   // the worker left the configuration
	Restore                  // and is back
	Adopt                    // the ledger has an instance of an earlier master, with a handle
	AdoptLost                // and without one
)

// Action is what the caller of [Machine.Next] must do, in order.
type Action uint8

const (
	DoStart    Action = iota // call Start; StartOK or StartFailed follows
	DoCheck                  // call Check; CheckOK or CheckFailed follows
	DoStop                   // call Stop; StopOK or StopFailed follows
	Cancel                   // cancel the call that is under way
	Serve                    // tell the builds that wait that the worker is attached
	Refuse                   // tell the builds that wait that they cannot have it; each gives a Release
	Disconnect               // end the session of the worker, if there is one
	TimeAttach               // Late after missing_timeout
	TimeReturn               // Late after resume_timeout
	TimeCheck                // CheckDue after check_instance_interval
	TimeIdle                 // Idle after build_wait_timeout
	TimeRetry                // RetryDue after a back-off
	Disarm                   // no timer runs any more
)

// Machine is the life of one worker's instance, apart from what it is made of. The zero
// Machine is Down. It is a value: whoever feeds it owns it.
//
//	Down --Want--> Starting --Connected--> Up --Idle, Late, Unfit--> Stopping --StopOK--> Down
//	                  |                                               ^ |  ^
//	                  +--StartFailed, CheckFailed, Late, last Release----+ +--+ StopFailed, RetryDue
//
// A Want while Stopping is served by a new start once StopOK came.
type Machine struct {
	State    State
	Call     Call
	Attached bool
	Builds   int // that want the worker or run on it
	Keep     Keep
	Closed   bool // nothing starts any more
	Retired  bool // it is stopped as soon as it builds nothing
}

// Next returns the machine after an event, and what to do about it. What means nothing in
// its state changes nothing.
func (m Machine) Next(e Event) (Machine, []Action) {
	s := step{Machine: m}
	switch e {
	case StartOK, StartFailed, CheckOK, CheckFailed, StopOK, StopFailed:
		s.returned(e)
	case CheckDue, Late, Idle, RetryDue:
		s.due(e)
	default:
		s.told(e)
	}
	return s.Machine, s.actions
}

// step is one transition.
type step struct {
	Machine
	actions []Action
}

func (s *step) do(actions ...Action) { s.actions = append(s.actions, actions...) }

func (s *step) start() {
	s.State, s.Call = Starting, StartCall
	s.do(DoStart, TimeAttach)
}

// stop begins the end of the instance. A call that is under way ends first.
func (s *step) stop() {
	s.State, s.Attached = Stopping, false
	s.do(Disarm, Disconnect)
	if s.Call != NoCall {
		s.do(Cancel)
		return
	}
	s.Call = StopCall
	s.do(DoStop)
}

// idle decides what happens to an instance that builds nothing.
func (s *step) idle() {
	switch {
	case s.Keep == KeepNot || s.Closed || s.Retired:
		s.stop()
	case s.Keep == KeepTime && s.Attached:
		s.do(TimeIdle)
	}
}

// returned is the end of a call.
func (s *step) returned(e Event) {
	if s.Call != callOf(e) {
		return
	}
	s.Call = NoCall
	switch {
	case e == StopOK:
		s.stopped()
	case e == StopFailed:
		s.do(Refuse)
		if !s.Closed {
			s.do(TimeRetry)
		}
	case s.State == Stopping:
		s.Call = StopCall
		s.do(DoStop)
	case e == StartFailed, e == CheckFailed && s.State == Starting:
		s.do(Refuse)
		s.stop()
	case s.State == Starting:
		s.do(TimeCheck)
	}
}

func callOf(e Event) Call {
	switch e {
	case StartOK, StartFailed:
		return StartCall
	case CheckOK, CheckFailed:
		return CheckCall
	}
	return StopCall
}

func (s *step) stopped() {
	s.State = Down
	s.do(Disarm)
	switch {
	case s.Builds == 0:
	case s.Closed || s.Retired:
		s.do(Refuse)
	default:
		s.start()
	}
}

// due is a timer.
func (s *step) due(e Event) {
	switch {
	case e == CheckDue && s.State == Starting && s.Call == NoCall:
		s.Call = CheckCall
		s.do(DoCheck)
	case e == Late && (s.State == Starting || s.State == Up && !s.Attached):
		s.do(Refuse)
		s.stop()
	case e == Idle && s.State == Up && s.Builds == 0:
		s.stop()
	case e == RetryDue && s.State == Stopping && s.Call == NoCall:
		s.Call = StopCall
		s.do(DoStop)
	}
}

// told is what somebody else wants or saw.
func (s *step) told(e Event) {
	switch e {
	case Want:
		s.want()
	case Release:
		s.release()
	case Connected:
		s.connected()
	case Lost:
		if s.State == Up && s.Attached {
			s.Attached = false
			s.do(Disarm, TimeReturn)
		}
	case Unfit:
		if s.State == Up {
			s.stop()
		}
	case Close:
		s.close()
	case Retire:
		s.Retired = true
		if s.Builds == 0 && (s.State == Starting || s.State == Up) {
			s.stop()
		}
	case Restore:
		s.Retired = false
	case Adopt:
		s.adopt()
	case AdoptLost:
		if s.State == Down {
			s.State, s.Call = Stopping, StopCall
			s.do(DoStop)
		}
	}
}

func (s *step) want() {
	s.Builds++
	switch {
	case s.Closed || s.Retired && s.State != Up:
		s.do(Refuse)
	case s.State == Down:
		s.start()
	case s.State == Up && s.Attached:
		s.do(Disarm, Serve)
	}
}

func (s *step) release() {
	if s.Builds == 0 {
		return
	}
	if s.Builds--; s.Builds > 0 {
		return
	}
	switch s.State {
	case Starting:
		s.stop()
	case Up:
		s.idle()
	}
}

func (s *step) connected() {
	if s.State != Starting && s.State != Up {
		s.do(Disconnect)
		return
	}
	s.State, s.Attached = Up, true
	s.do(Disarm)
	if s.Call == CheckCall {
		s.do(Cancel)
	}
	if s.Builds > 0 {
		s.do(Serve)
		return
	}
	s.idle()
}

func (s *step) close() {
	s.Closed = true
	switch {
	case s.State == Starting || s.State == Up:
		s.do(Refuse)
		s.stop()
	case s.State == Stopping && s.Call == NoCall: // it waits for its next try
		s.Call = StopCall
		s.do(Disarm, DoStop)
	}
}

func (s *step) adopt() {
	if s.State != Down {
		return
	}
	s.State = Starting
	if s.Builds == 0 && (s.Keep == KeepNot || s.Closed || s.Retired) {
		s.stop()
		return
	}
	s.do(TimeAttach, TimeCheck)
}
