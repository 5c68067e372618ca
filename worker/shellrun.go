package worker

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"buildstar/config/prop"
	"buildstar/conn/wire"
)

const (
	// killWait is how long a process may take to end once it got the last signal.
	killWait = 5 * time.Second
	// leftoverWait is how long background processes that keep a finished command's
	// output open may be silent before they are killed.
	leftoverWait = 5 * time.Second
	// closeWait is how long output may stay open when the whole group was killed.
	closeWait = time.Second
	// drainTime is how long a killed group's output is read while there is some.
	drainTime = time.Minute
	// groupPoll is how often a group is looked at that should end by itself.
	groupPoll = 50 * time.Millisecond
)

// alarm is a moment at which a running shell command must do something.
type alarm int

const (
	flushAlarm   alarm = iota // what waits must be sent
	silenceAlarm              // timeout: no output for too long
	maxAlarm                  // maxTime is over
	pollAlarm                 // look at the logfiles
	termAlarm                 // sigtermTime is over
	killAlarm                 // the last signal did not help
	groupAlarm                // see whether the group has ended by itself
	leftAlarm                 // output is open though the command is over
	alarms
)

// shellRun is a shell command while it runs. All of it belongs to the command's
// goroutine.
type shellRun struct {
	*shellArgs
	c     *command
	p     *process
	start time.Time
	at    [alarms]time.Time // zero: not set
	timer *time.Timer

	watchers []*watcher
	unread   bool // a logfile may have more than was taken
	buf      []byte
	held     bool // nothing is read until the master takes what was said

	lineCount int64
	killed    bool // by us
	exited    bool
	grouped   bool      // killed and exited, but the group may still end by itself
	leftovers bool      // background processes were killed
	abandoned bool      // the process does not end
	over      time.Time // when the whole group was killed
}

func runShell(c *command, a *shellArgs) error {
	if err := os.MkdirAll(a.dir, 0o777); err != nil {
		return fmt.Errorf("create workdir: %w", err)
	}
	env := a.environ.apply(ownEnviron())
	env["PWD"] = a.dir
	if a.usePTY && a.hasStdin {
		a.usePTY = false
		c.out.header("WARNING: disabling usePTY for this command\n")
	}
	a.headers(c, env)
	r := &shellRun{shellArgs: a, c: c, start: time.Now()}
	for _, l := range a.logfiles {
		r.watchers = append(r.watchers, watch(c, l))
	}
	defer func() {
		for _, w := range r.watchers {
			w.close()
		}
	}()
	var stdin *string
	if a.hasStdin {
		stdin = &a.stdin
	}
	mark := newMark()
	var err error
	if r.p, err = startProcess(a.argv, a.dir, append(environList(env), marker+"="+mark), stdin, a.usePTY); err != nil {
		c.out.stderr(fmt.Sprintf("Cannot run %s: %v\n", prop.Repr(a.argv[0]), err))
		r.finish(1)
		return nil
	}
	record, err := writeRecord(c.cfg.Basedir, r.p.cmd.Process.Pid, mark)
	if err != nil {
		c.log.Warn("a command would outlive a crash of the worker", "err", err)
	}
	r.loop()
	err = r.end()
	if record != "" && !r.abandoned {
		_ = os.Remove(record) // one that stays says only what is over
	}
	return err
}

// loop runs until the child and its output have ended, or it cannot be made to end.
func (r *shellRun) loop() {
	out, p := r.c.out, r.p
	r.set(silenceAlarm, r.timeout)
	r.set(maxAlarm, r.maxTime)
	if len(r.watchers) > 0 {
		r.set(pollAlarm, pollInterval)
	}
	r.timer = time.NewTimer(time.Hour)
	defer r.timer.Stop()
	exited, interrupted := p.exited, r.c.ctx.Done()
	for p.open > 0 || !(r.exited && !r.grouped || r.abandoned) {
		if r.unread && !out.full() {
			r.readLogfiles(1)
		}
		chunks := p.chunks
		if r.hold(out.full()); r.held {
			chunks = nil // what was said must be taken first
		}
		r.at[flushAlarm] = out.due()
		r.timer.Reset(r.untilNext())
		select {
		case ck := <-chunks:
			r.take(ck)
		case <-out.space:
		case <-r.timer.C:
			r.alarmed()
		case <-exited:
			exited = nil
			r.exit()
		case <-interrupted:
			interrupted = nil
			r.interrupt()
		}
	}
}

// hold notes whether the command is held back. Its silence begins when it no longer is.
func (r *shellRun) hold(full bool) {
	if r.held && !full && !r.killed {
		r.set(silenceAlarm, r.timeout)
	}
	r.held = full
}

// set sets an alarm; a duration of 0 switches it off.
func (r *shellRun) set(a alarm, after time.Duration) {
	r.at[a] = time.Time{}
	if after > 0 {
		r.at[a] = time.Now().Add(after)
	}
}

func (r *shellRun) untilNext() time.Duration {
	next := time.Hour
	now := time.Now()
	for _, at := range r.at {
		if !at.IsZero() {
			next = min(next, max(0, at.Sub(now)))
		}
	}
	return next
}

// take handles what a pipe gave.
func (r *shellRun) take(ck chunk) {
	if ck.end {
		r.p.open--
		return
	}
	r.active()
	if !r.at[leftAlarm].IsZero() && !r.over.IsZero() && time.Since(r.over) < drainTime {
		r.set(leftAlarm, closeWait)
	}
	if r.maxLines > 0 {
		r.countLines(ck.p)
	}
	if want := r.wantStdout; ck.key == wire.Stdout && want || ck.key == wire.Stderr && r.wantStderr {
		r.c.out.write(r.c.out.stream(ck.key, ""), ck.p)
	}
	ck.free <- ck.p[:cap(ck.p)]
}

// active notes that there was output.
func (r *shellRun) active() {
	if !r.killed {
		r.set(silenceAlarm, r.timeout)
		if r.exited && !r.leftovers {
			r.set(leftAlarm, r.c.cfg.leftoverWait)
		}
	}
}

func (r *shellRun) countLines(p []byte) {
	r.lineCount += int64(bytes.Count(p, lf) + bytes.Count(p, []byte("\r")) - bytes.Count(p, []byte("\r\n")))
	if r.lineCount > r.maxLines && !r.killed {
		r.kill("max_lines_failure", fmt.Sprintf("command exceeds max lines: %d/%d written/allowed running %s",
			r.lineCount, r.maxLines, r.repr()))
	}
}

// readLogfiles sends what is new in the watched files, at most about rounds chunks of
// each.
func (r *shellRun) readLogfiles(rounds int) {
	r.unread = false
	if r.buf == nil {
		r.buf = make([]byte, readSize)
	}
	for _, w := range r.watchers {
		for range rounds {
			p := w.read(r.buf)
			if len(p) == 0 {
				break
			}
			r.active()
			r.c.out.write(w.st, p)
			r.unread = r.unread || len(p) == len(r.buf)
		}
	}
}

// end says how the command ended, when loop is over.
func (r *shellRun) end() error {
	out := r.c.out
	r.p.closePipes()
	r.p.reap()
	if r.abandoned {
		out.value(wire.RC, -1)
		// Whatever holds it may pass; then it is reaped. Nobody waits for that: the worker
		// could not stop.
		return fmt.Errorf("%s failed to kill process", signalName(r.signal))
	}
	r.p.wg.Wait()
	r.drainLogfiles()
	rc, killer := exitStatus(r.p.state)
	if killer != 0 {
		out.header(fmt.Sprintf("process killed by signal %d\n", killer))
	}
	if r.killed && rc == 0 {
		rc = -1
	}
	r.finish(rc)
	return nil
}

// drainLogfiles sends the rest of the watched files, however much it is, but not what
// others append meanwhile.
func (r *shellRun) drainLogfiles() {
	for _, w := range r.watchers {
		left := int64(readSize)
		if st, err := os.Stat(w.path); err == nil {
			left += st.Size()
		}
		r.buf = append(r.buf[:0], make([]byte, readSize)...)
		for left > 0 {
			p := w.read(r.buf)
			if len(p) == 0 {
				break
			}
			left -= int64(len(p))
			r.c.out.write(w.st, p)
			r.c.out.waitRoom()
		}
	}
}

func (r *shellRun) finish(rc int) {
	r.c.out.value(wire.RC, rc)
	r.c.out.header(fmt.Sprintf("elapsedTime=%f\n", time.Since(r.start).Seconds()))
}

// exitStatus returns the rc of an ended process, and the signal that killed it.
func exitStatus(st *os.ProcessState) (rc, killer int) {
	if st == nil {
		return -1, 0
	}
	if ws, ok := waitStatus(st); ok && ws.Signaled() {
		return -1, int(ws.Signal())
	}
	return st.ExitCode(), 0
}
