package ec2

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"buildstar/latent"
	"buildstar/latent/ec2/ec2test"
)

// docs/requirements.md A10, B4: what an instance is started with.
func TestEC2Start(t *testing.T) {
	bubble(t, ec2test.Options{Region: "eu-west-1"}, func(t *testing.T, r *rig) {
		r.open(`region="eu-west-1", placement="b", tags={"Some": "tag"}, instance_profile_name="profile", keypair_name="key/1", security_name="group",
			user_data="#!/bin/sh\n@WORKERNAME@ @WORKERPASS@ @BUILDMASTER@:@BUILDMASTER_PORT@ @BUILDMASTER_URL@ @SECRET:api@ @OTHER@",
			block_device_map=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 20, "VolumeType": "gp3"}}, {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 5, "DeleteOnTermination": False}}]`)
		ref, i := r.start()
		if ref.Handle != i.ID || i.Type != "m5.large" || i.ImageID != r.image || i.Zone != "eu-west-1b" || i.Profile != "profile" || i.KeyName != "key/1" {
			t.Errorf("%+v", i)
		}
		if want := map[string]string{"Some": "tag", "buildstar.master": "M1", "buildstar.worker": "w_1", "buildstar.attempt": "1"}; !maps.Equal(i.Tags, want) {
			t.Errorf("tags %v", i.Tags)
		}
		if want := "#!/bin/sh\nw_1 pw ci.test:9989 ws://ci.test:9989 token @OTHER@"; i.UserData != want {
			t.Errorf("user data %q", i.UserData)
		}
		if i.ClientToken != "M1-1" || len(i.Groups) != 1 || len(i.Devices) != 2 {
			t.Errorf("token %s, groups %v, devices %v", i.ClientToken, i.Groups, i.Devices)
		}
		key, err := os.ReadFile(filepath.Join(r.env.Basedir, "ec2-eu-west-1-key_1.pem"))
		if err != nil || !strings.Contains(string(key), "PRIVATE KEY") {
			t.Errorf("the private key: %v", err)
		}
		for _, want := range []string{"made key pair key/1; its private key is in ", "made security group group\n", "instance " + i.ID + ": m5.large of " + r.image} {
			if !strings.Contains(r.log.String(), want) {
				t.Errorf("the log has no %q: %s", want, &r.log)
			}
		}
		if _, j := r.start(); !slices.Equal(j.Groups, i.Groups) || r.s.Count("CreateKeyPair") != 1 || r.s.Count("CreateSecurityGroup") != 1 {
			t.Errorf("the second has groups %v; calls %v", j.Groups, r.s.Calls())
		}
		r.stop(ref, false)
		if n := r.s.Volumes(); n != 1+2 { // the one that stays, and those of the second
			t.Errorf("%d volumes are left", n)
		}
	})
}

func TestEC2Subnet(t *testing.T) {
	bubble(t, ec2test.Options{}, func(t *testing.T, r *rig) {
		r.open(`subnet_id="subnet-00000000000000003"`)
		if _, i := r.start(); i.Zone != "us-east-1c" || r.s.Count("CreateSecurityGroup") != 0 {
			t.Errorf("%+v", i)
		}
		r.open("")
		_, i := r.start()
		r.open(fmt.Sprintf(`security_group_ids=[%q]`, i.Groups[0]))
		if _, j := r.start(); !slices.Equal(j.Groups, i.Groups) {
			t.Errorf("groups %v, want %v", j.Groups, i.Groups)
		}
		r.open(`subnet_id="subnet-1"`)
		_, err := r.tryStart(nil)
		wantError(t, err, "run a m5.large of "+r.image+": InvalidSubnetID.NotFound: ")
	})
}

// docs/requirements.md A10.19: the address is the instance's once it runs, and free after it.
func TestEC2ElasticIP(t *testing.T) {
	bubble(t, ec2test.Options{Boot: time.Minute, Shutdown: time.Minute, Lag: 3 * time.Second}, func(t *testing.T, r *rig) {
		ip := r.s.AddAddress()
		r.open(fmt.Sprintf("elastic_ip=%q", ip))
		ref, i := r.start()
		if i.PublicIP != ip || i.State != "running" {
			t.Errorf("%+v", i)
		}
		_, err := r.tryStart(nil)
		wantError(t, err, "Resource.AlreadyAssociated") // it is not taken from the other
		r.stop(latent.Ref{Worker: "w_1", Attempt: 2}, true)
		r.stop(ref, true)
		if ref, i = r.start(); i.PublicIP != ip { // though the first is still shutting down
			t.Errorf("%+v", i)
		}
		r.stop(ref, false)
		r.open(`elastic_ip="192.0.2.1"`)
		_, err = r.tryStart(nil)
		wantError(t, err, "look for elastic address 192.0.2.1: InvalidAddress.NotFound")
	})
}

// docs/requirements.md A10.22: volumes are waited for until the instance before lets them go.
func TestEC2Volumes(t *testing.T) {
	bubble(t, ec2test.Options{Boot: time.Minute, Shutdown: 40 * time.Second}, func(t *testing.T, r *rig) {
		v := r.s.AddVolume("us-east-1a")
		r.open(fmt.Sprintf(`placement="a", volumes=[(%q, "/dev/sdf")]`, v))
		ref, i := r.start()
		if i.Devices["/dev/sdf"] != v {
			t.Errorf("%+v", i)
		}
		r.stop(ref, true)
		ref, i = r.start()
		if i.Devices["/dev/sdf"] != v {
			t.Errorf("%+v", i)
		}
		_, err := r.tryStart(nil)
		wantError(t, err, "attach volume "+v+": another instance has it")
		r.stop(latent.Ref{Worker: "w_1", Attempt: 3}, false)
		r.stop(ref, false)
		r.alive(0)
		if n := r.s.Volumes(); n != 1 {
			t.Errorf("%d volumes are left", n)
		}
	})
}

// What the provider makes of a start: retries by the SDK's rules, and who is to blame for the rest.
func TestEC2StartFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		fault ec2test.Fault
		want  string // of the error; "": the start succeeds
	}{
		"throttled for a while":   {fault: ec2test.Fault{Action: "RunInstances", Times: 3, Status: throttled.Status, Code: throttled.Code}},
		"a bad gateway":           {fault: ec2test.Fault{Action: "RunInstances", Times: 2, Status: 502}},
		"the first reply is lost": {fault: ec2test.Fault{Action: "RunInstances", Times: 1, Lose: true}},
		"the first reply hangs":   {fault: ec2test.Fault{Action: "RunInstances", Times: 1, Hold: time.Hour}},
		"throttled for ever":      {fault: ec2test.Fault{Status: throttled.Status, Code: throttled.Code, Message: "Request limit exceeded."}, want: "RequestLimitExceeded: Request limit exceeded."},
		"no capacity":             {fault: ec2test.Fault{Action: "RunInstances", Status: 500, Code: "InsufficientInstanceCapacity", Message: "We currently do not have sufficient capacity"}, want: "InsufficientInstanceCapacity: We currently"},
		"no quota":                {fault: ec2test.Fault{Action: "RunInstances", Code: "VcpuLimitExceeded", Message: "You have requested more vCPU capacity"}, want: "run a m5.large of "},
		"every reply is lost":     {fault: ec2test.Fault{Action: "RunInstances", Lose: true}, want: "EOF"},
		"500 for ever":            {fault: ec2test.Fault{Action: "DescribeKeyPairs", Status: 500}, want: "look for key pair latent_buildbot_slave: "},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, ec2test.Options{}, func(t *testing.T, r *rig) {
				r.open("")
				r.s.Inject(tt.fault)
				ref, err := r.tryStart(nil)
				r.s.Heal()
				switch {
				case tt.want == "" && err != nil:
					t.Error(err)
				case tt.want == "":
					r.alive(1)
				default:
					wantError(t, err, tt.want)
					if errors.Is(err, latent.ErrCannotSubstantiate) {
						t.Errorf("the build is to blame: %v", err)
					}
				}
				r.stop(ref, false)
				r.alive(0)
			})
		})
	}
}

// An instance may be shown by nothing when its start was cut: its end waits for it.
func TestEC2StartIsCut(t *testing.T) {
	bubble(t, ec2test.Options{Boot: 30 * time.Second, Lag: 10 * time.Second}, func(t *testing.T, r *rig) {
		r.open("")
		l, err := r.launch(nil)
		if err != nil {
			t.Fatal(err)
		}
		r.s.Inject(ec2test.Fault{Action: "RunInstances", Times: 1, Lose: true})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond) // the SDK would try again later
		defer cancel()
		if s, err := r.b.Start(ctx, l); err == nil {
			t.Errorf("started %+v", s)
		}
		r.alive(1)
		r.b = reopen(t, r) // as if the master had been killed
		r.stop(l.Ref, false)
		r.alive(0)
		if took := passes(func() { r.stop(latent.Ref{Worker: "w_1", Attempt: 9}, false) }); took < 15*time.Second || took > 25*time.Second {
			t.Errorf("it took %v to be sure that there is nothing", took)
		}
		r.p.InstanceProfileName = "x"
		l, _ = r.launch(nil)
		r.s.Inject(ec2test.Fault{Action: "RunInstances", Code: "UnauthorizedOperation"})
		if _, err := r.b.Start(t.Context(), l); err == nil {
			t.Error("started")
		}
		if took := passes(func() { r.stop(l.Ref, false) }); took != 0 {
			t.Errorf("it took %v to stop what was refused", took)
		}
	})
}

// docs/requirements.md A9.6: who renders the name of an image that is not there is to blame.
func TestEC2Blame(t *testing.T) {
	for args, blamed := range map[string]bool{
		`ami="ami-0a"`: false, `ami=util.Property("ami")`: true, `ami="IMAGE", instance_type=util.Property("kind")`: true,
	} {
		bubble(t, ec2test.Options{}, func(t *testing.T, r *rig) {
			r.declare(`"w_1", "pw", identifier="AKID", secret_identifier="s3cret", ` + map[bool]string{true: "", false: `instance_type="m5.large", `}[strings.Contains(args, "kind")] + args)
			_, err := r.tryStart(props{"ami": "ami-0a", "kind": "m5.enormous"})
			if err == nil || errors.Is(err, latent.ErrCannotSubstantiate) != blamed {
				t.Errorf("%s: %v", args, err)
			}
		})
	}
}

// Thirty workers start at once: one key pair, one group, thirty instances.
func TestEC2Parallel(t *testing.T) {
	bubble(t, ec2test.Options{Boot: time.Minute, Shutdown: time.Minute}, func(t *testing.T, r *rig) {
		r.open("")
		r.s.Inject(ec2test.Fault{Action: "RunInstances", Times: 40, Status: throttled.Status, Code: throttled.Code})
		done := make(chan error)
		for range 30 {
			b := reopen(t, r)
			l, err := r.launch(nil)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				s, err := b.Start(t.Context(), l)
				if err == nil {
					l.Ref.Handle = s.Handle
					err = b.Stop(t.Context(), l.Ref, false)
				}
				done <- err
			}()
		}
		for range 30 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		r.alive(0)
		if n := len(r.s.Instances(nil)); n != 30 {
			t.Errorf("%d instances were started", n)
		}
	})
}
