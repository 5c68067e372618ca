package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"buildstar/conn/wire"
)

// How a command is killed (docs/protocol.md A.8). The whole process group gets
// SIGTERM, if sigtermTime is given, and when that is over interruptSignal. When the
// child has ended, the rest of the group has what is left of sigtermTime and is then
// killed as well: nothing of a killed command stays (0.2 item 21). What left the group
// lives on.

// alarmed does what is due.
func (r *shellRun) alarmed() {
	now := time.Now()
	for a := range alarms {
		if at := r.at[a]; at.IsZero() || at.After(now) {
			continue
		}
		r.at[a] = time.Time{}
		r.due(a)
	}
}

func (r *shellRun) due(a alarm) {
	switch a {
	case flushAlarm:
		r.c.out.flush()
	case silenceAlarm:
		if r.held { // the command is silent because we do not read
			r.set(silenceAlarm, r.timeout)
			return
		}
		r.kill("timeout_without_output", fmt.Sprintf("command timed out: %s seconds without output running %s",
			plainSeconds(r.timeout), r.repr()))
	case maxAlarm:
		r.kill("timeout", fmt.Sprintf("command timed out: %s seconds elapsed running %s", plainSeconds(r.maxTime), r.repr()))
	case pollAlarm:
		r.set(pollAlarm, pollInterval)
		if !r.c.out.full() {
			r.readLogfiles(1)
		}
	case termAlarm:
		if r.exited {
			r.killGroup()
		} else {
			r.lastSignal()
		}
	case killAlarm:
		r.abandon()
	case groupAlarm:
		r.checkGroup()
	case leftAlarm:
		r.left()
	}
}

// interrupt ends the command because the master or the worker wants it.
func (r *shellRun) interrupt() {
	r.sigterm = mayTakeTime(r.c.ctx, r.sigterm)
	r.c.out.endLines()
	r.c.out.flush()
	why := "command interrupted"
	if cause := context.Cause(r.c.ctx); !errors.Is(cause, errInterrupted) {
		why = fmt.Sprintf("command interrupted: %v", cause)
	}
	r.kill("", why)
}

// kill begins to kill the command. reason is for programs, text for people.
func (r *shellRun) kill(reason, text string) {
	if r.killed {
		return
	}
	r.killed = true
	if reason != "" {
		r.c.out.value(wire.FailureReason, reason)
	}
	r.c.out.header("\n" + text + ", attempting to kill\n")
	r.set(silenceAlarm, 0)
	r.set(maxAlarm, 0)
	r.set(leftAlarm, 0)
	switch {
	case r.exited:
		r.killGroup()
	case r.sigterm > 0:
		r.p.signal(syscall.SIGTERM)
		r.set(termAlarm, r.sigterm)
	default:
		r.lastSignal()
	}
}

func (r *shellRun) lastSignal() {
	r.p.signal(r.shellArgs.signal)
	r.set(killAlarm, r.c.cfg.killWait)
}

// exit notes that the child has ended.
func (r *shellRun) exit() {
	r.exited = true
	r.set(killAlarm, 0)
	switch {
	case !r.killed:
		r.set(leftAlarm, r.c.cfg.leftoverWait)
	case r.at[termAlarm].IsZero():
		r.killGroup()
	default: // the others may use the time that is left
		r.grouped = true
		r.checkGroup()
	}
}

// checkGroup ends the wait for a group that has ended by itself.
func (r *shellRun) checkGroup() {
	if !r.exited || !r.grouped {
		return
	}
	if len(members(r.p.cmd.Process.Pid)) == 0 {
		r.killGroup()
		return
	}
	r.set(groupAlarm, groupPoll)
}

// killGroup kills what is left of the group.
func (r *shellRun) killGroup() {
	r.p.signal(syscall.SIGKILL)
	r.grouped = false
	r.over = time.Now()
	r.set(termAlarm, 0)
	r.set(groupAlarm, 0)
	r.set(leftAlarm, closeWait)
}

// left ends a command whose output is still open though nobody of its own should
// hold it.
func (r *shellRun) left() {
	if r.c.out.full() { // we do not read at all now
		r.set(leftAlarm, closeWait)
		return
	}
	if r.killed || r.leftovers {
		r.p.closePipes()
		return
	}
	r.leftovers = true
	if len(members(r.p.cmd.Process.Pid)) > 0 {
		r.c.out.header("processes left in the background are killed: they kept the output open\n")
	}
	r.killGroup()
}

// abandon gives up on a process that the last signal did not end. SIGKILL may still.
func (r *shellRun) abandon() {
	r.abandoned = true
	r.c.out.header(fmt.Sprintf("%s failed to kill process\nusing fake rc=-1\n", signalName(r.shellArgs.signal)))
	r.p.signal(syscall.SIGKILL)
	r.p.closePipes()
}

func signalName(sig syscall.Signal) string { return unix.SignalName(sig) }

func waitStatus(st *os.ProcessState) (syscall.WaitStatus, bool) {
	ws, ok := st.Sys().(syscall.WaitStatus)
	return ws, ok
}
