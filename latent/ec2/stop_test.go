package ec2

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"buildstar/latent"
	"buildstar/latent/ec2/ec2test"
	"buildstar/latent/latenttest"
)

func TestConformance(t *testing.T) {
	latenttest.Exercise(t, func(t *testing.T) latenttest.Subject {
		r := newRig(t, ec2test.Options{})
		r.open("")
		r.p.test.tick = 5 * time.Millisecond
		return latenttest.Subject{
			Params: r.p, Env: r.env,
			Alive: func(*testing.T) int { return len(r.s.Alive(map[string]string{tagMaster: "M1"})) },
			Kill:  func(_ *testing.T, ref latent.Ref) { r.s.Kill(ref.Handle, "Server.InternalError", "Internal error") },
		}
	})
}

// docs/requirements.md A9.11, B4: a fast stop knows that the instance ends, another that it has.
func TestEC2Stop(t *testing.T) {
	for _, tt := range []struct {
		shutdown    time.Duration
		fast        bool
		least, most time.Duration
		want        string
	}{
		{time.Minute, true, 0, 0, "shutting-down"},
		{time.Minute, false, time.Minute, 70 * time.Second, "terminated"},
		{time.Hour, false, 90 * time.Second, 100 * time.Second, "shutting-down"}, // which cannot be undone
	} {
		t.Run(fmt.Sprint(tt.shutdown, tt.fast), func(t *testing.T) {
			bubble(t, ec2test.Options{Boot: time.Minute, Shutdown: tt.shutdown}, func(t *testing.T, r *rig) {
				r.open("")
				ref, _ := r.start()
				if took := passes(func() { r.stop(ref, tt.fast) }); took < tt.least || took > tt.most {
					t.Errorf("it took %v", took)
				}
				if i := r.s.Instances(nil)[0]; i.State != tt.want {
					t.Errorf("it is %s", i.State)
				}
			})
		})
	}
}

// A provider that knows no client tokens makes two instances when the first reply is lost: both end.
func TestEC2StopTwins(t *testing.T) {
	bubble(t, ec2test.Options{NoTokens: true}, func(t *testing.T, r *rig) {
		r.open("")
		r.s.Inject(ec2test.Fault{Action: "RunInstances", Times: 1, Lose: true})
		ref, _ := r.start()
		r.alive(2)
		r.stop(ref, false)
		r.alive(0)
	})
}

// A stop that meets errors says so, and goes through when they are over.
func TestEC2StopFaults(t *testing.T) {
	bubble(t, ec2test.Options{Lag: 5 * time.Second}, func(t *testing.T, r *rig) {
		r.open("")
		ref, _ := r.start()
		r.s.Inject(throttled)
		if err := r.b.Stop(t.Context(), ref, true); err == nil {
			t.Error("stopped")
		}
		r.s.Heal()
		r.s.Inject(ec2test.Fault{Action: "TerminateInstances", Times: 1, Lose: true})
		r.stop(ref, true)
		r.alive(0)
		ref, _ = r.start()
		r.s.Inject(ec2test.Fault{Action: "TerminateInstances", Code: "OperationNotPermitted", Message: "The instance may not be terminated."})
		wantError(t, r.b.Stop(t.Context(), ref, true), "terminate instance: OperationNotPermitted: The instance may not")
		r.s.Heal()
		r.stop(ref, false)
		r.alive(0)
	})
}

// docs/requirements.md A9.18: an instance that ended, or fails its checks, will never connect.
func TestEC2Check(t *testing.T) {
	bubble(t, ec2test.Options{Boot: time.Minute, Lag: 5 * time.Second}, func(t *testing.T, r *rig) {
		r.open("")
		check := func(ref latent.Ref, want string) {
			t.Helper()
			good, message, err := r.b.Check(t.Context(), ref)
			if err != nil || good != (want == "") || !strings.Contains(message, want) {
				t.Errorf("%v, %q, %v; want %q", good, message, err, want)
			}
		}
		ref, _ := r.start()
		check(ref, "") // which nothing shows yet
		time.Sleep(10 * time.Second)
		check(ref, "") // pending
		time.Sleep(time.Minute)
		check(ref, "")
		r.s.Impair(ref.Handle)
		check(ref, "fails its ")
		r.s.Kill(ref.Handle, "Client.UserInitiatedShutdown", "User initiated shutdown")
		check(ref, "instance "+ref.Handle+" is terminated: Client.UserInitiatedShutdown: User initiated shutdown")
		r.s.Doom("Client.VolumeLimitExceeded", "Volume limit exceeded")
		ref, _ = r.start()
		time.Sleep(2 * time.Minute)
		check(ref, "is terminated: Client.VolumeLimitExceeded: Volume limit exceeded")
		time.Sleep(2 * time.Hour)
		check(ref, "instance "+ref.Handle+" is gone")
		r.s.Inject(throttled)
		if good, message, err := r.b.Check(t.Context(), ref); !good || err != nil || !strings.Contains(message, "RequestLimitExceeded") {
			t.Errorf("throttled: %v, %q, %v", good, message, err)
		}
		r.s.Heal()
		r.s.Inject(ec2test.Fault{Status: 403, Code: "UnauthorizedOperation"})
		if good, _, err := r.b.Check(t.Context(), ref); good || err == nil {
			t.Errorf("forbidden: %v, %v", good, err)
		}
	})
}

// An instance that dies before its address can be given to it fails the start.
func TestEC2DiesPending(t *testing.T) {
	bubble(t, ec2test.Options{Boot: 20 * time.Second}, func(t *testing.T, r *rig) {
		r.open(fmt.Sprintf("elastic_ip=%q", r.s.AddAddress()))
		r.s.Doom("Server.InternalError", "Internal error on launch")
		ref, err := r.tryStart(nil)
		wantError(t, err, "is terminated: Server.InternalError: Internal error on launch")
		r.stop(ref, false)
		r.alive(0)
	})
}

// What another master started is not ours, and an end that has begun is no instance.
func TestEC2List(t *testing.T) {
	bubble(t, ec2test.Options{Boot: time.Minute, Shutdown: time.Minute}, func(t *testing.T, r *rig) {
		r.open("")
		ours, _ := r.start()
		ending, _ := r.start()
		r.stop(ending, true)
		r.env.Master = "M2"
		r.b = reopen(t, r)
		theirs, _ := r.start()
		r.env.Master = "M1"
		r.b = reopen(t, r)
		refs, err := r.b.List(t.Context())
		if err != nil || len(refs) != 1 || refs[0].Handle != ours.Handle || refs[0].Attempt != ours.Attempt || refs[0].Worker != "w_1" {
			t.Errorf("list: %+v, %v", refs, err)
		}
		r.stop(latent.Ref{Worker: "w_1", Attempt: theirs.Attempt}, false)
		if n := len(r.s.Alive(map[string]string{tagMaster: "M2"})); n != 1 {
			t.Error("the other master's instance is gone")
		}
	})
}
