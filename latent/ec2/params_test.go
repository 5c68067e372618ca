package ec2

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"buildstar/config"
	"buildstar/latent"
	"buildstar/latent/ec2/ec2test"
)

// docs/requirements.md A10.5, B4: positions and defaults.
func TestEC2Defaults(t *testing.T) {
	n := declare(t, `"w", "pw", "m1.large", "ami-12345", build_wait_timeout=60`)
	if n.Name != "w" || !n.Password.Matches("pw") || n.Latent.BuildWait != time.Minute || n.Latent.Missing != 20*time.Minute || n.Latent.MayBeIncompatible {
		t.Errorf("%+v, %+v", n, n.Latent)
	}
	if n := declare(t, `"w", "pw", "m1.large", "ami-12345"`); n.Latent.BuildWait != 10*time.Minute {
		t.Errorf("build_wait_timeout %v", n.Latent.BuildWait)
	}
	p := n.Latent.Backend.(*Params)
	if p.Kind() != "ec2" || *p.KeypairName != oldName || *p.SecurityName != oldName || *p.MaxSpotPrice != 1.6 || *p.PriceMultiplier != 1.2 ||
		p.ProductDescription != "Linux/UNIX" || p.SpotInstance || p.Region != "" || p.Varies() {
		t.Errorf("%+v", p)
	}
	all := params(t, `"w", "pw", "m1.large", None, [1], "x", "192.0.2.1", "id", "key", None, "data", "us-west-2", "pair", "group", True, 0.5, [("vol-1", "/dev/sdf")], "b", 2,
		{"k": "v"}, "Windows"`)
	if all.Owners[0] != "000000000001" || all.LocationRegex != "x" || all.ElasticIP != "192.0.2.1" || all.Identifier.Password.Reveal() != "id" || all.SecretIdentifier.Password.Reveal() != "key" ||
		all.Region != "us-west-2" || *all.KeypairName != "pair" || *all.SecurityName != "group" || !all.SpotInstance || *all.MaxSpotPrice != 0.5 || all.Volumes[0] != (volume{"vol-1", "/dev/sdf"}) ||
		all.Placement != "b" || *all.PriceMultiplier != 2 || all.ProductDescription != "Windows" {
		t.Errorf("%+v", all)
	}
}

// The examples of Buildbot's manual of 0.8, with today's names and Starlark's strings.
func TestEC2Manual(t *testing.T) {
	for _, tt := range []struct {
		args string
		ok   func(p *Params, w wanted) bool
	}{
		{`'bot1', 'sekrit', 'm1.large', ami='ami-12345', identifier='publickey', secret_identifier='privatekey'`,
			func(p *Params, w wanted) bool {
				return w.ami == "ami-12345" && w.kind == "m1.large" && p.Identifier.Password.Reveal() == "publickey" && p.SecretIdentifier.Password.Reveal() == "privatekey"
			}},
		{`'bot1', 'sekrit', 'm1.large', ami='ami-12345'`, func(p *Params, w wanted) bool { return p.Identifier == nil && p.IDFile == "" }},
		{`'bot1', 'sekrit', 'm1.large', ami='ami-12345', aws_id_file_path='/etc/aws_id'`, func(p *Params, w wanted) bool { return p.IDFile == "/etc/aws_id" }},
		{`'bot1', 'sekrit', 'm1.large', valid_ami_owners=[11111111111, 22222222222], identifier='publickey', secret_identifier='privatekey'`,
			func(p *Params, w wanted) bool {
				return w.ami == "" && slices.Equal(p.Owners, []string{"011111111111", "022222222222"})
			}},
		{`'bot1', 'sekrit', 'm1.large', valid_ami_location_regex=r'buildbot\-.*/image.manifest.xml', identifier='publickey', secret_identifier='privatekey'`,
			func(p *Params, w wanted) bool { return p.LocationRegex == `buildbot\-.*/image.manifest.xml` }},
		{`'bot1', 'sekrit', 'm1.large', valid_ami_location_regex=r'buildbot\-.*\-(.*)/image.manifest.xml', identifier='publickey', secret_identifier='privatekey'`,
			func(p *Params, w wanted) bool { return p.LocationRegex == `buildbot\-.*\-(.*)/image.manifest.xml` }},
		{`'bot1', 'sekrit', 'm1.large', valid_ami_location_regex=r'buildbot\-.*\-(\d+)/image.manifest.xml', identifier='publickey', secret_identifier='privatekey'`,
			func(p *Params, w wanted) bool { return p.LocationRegex == `buildbot\-.*\-(\d+)/image.manifest.xml` }},
		{`'bot1', 'sekrit', 'm1.large', 'ami-12345', identifier='publickey', secret_identifier='privatekey', elastic_ip='208.77.188.166'`,
			func(p *Params, w wanted) bool { return p.ElasticIP == "208.77.188.166" && w.ami == "ami-12345" }},
		{`'bot1', 'sekrit', 'm1.large', 'ami-12345', identifier='publickey', secret_identifier='privatekey', tags={'SomeTag': 'foo'}`,
			func(p *Params, w wanted) bool { return maps.Equal(w.tags, map[string]string{"SomeTag": "foo"}) }},
		{`'bot1', 'sekrit', 'm1.large', 'ami-12345', region='us-west-2', identifier='publickey', secret_identifier='privatekey', elastic_ip='208.77.188.166',
			placement='b', spot_instance=True, max_spot_price=0.09, price_multiplier=1.15`,
			func(p *Params, w wanted) bool {
				return p.Region == "us-west-2" && p.Placement == "b" && p.SpotInstance && *p.MaxSpotPrice == 0.09 && *p.PriceMultiplier == 1.15
			}},
	} {
		p := params(t, tt.args)
		a, err := p.Render(t.Context(), props{})
		if err != nil {
			t.Fatal(err)
		}
		w, err := p.read(a)
		if err != nil || *p.KeypairName != oldName || *p.SecurityName != oldName || !tt.ok(p, w) {
			t.Errorf("%s: %+v, %+v, %v", tt.args, p, w, err)
		}
	}
}

// Each argument that can depend on properties makes instances differ.
func TestEC2Compatibility(t *testing.T) {
	for name, value := range map[string]string{
		"instance_type": `util.Interpolate("m5.%(prop:x)s")`, "ami": `util.Interpolate("ami-%(prop:x)s")`,
		"user_data": `util.Interpolate("x=%(prop:x)s")`, "tags": `{"x": util.Property("x")}`,
	} {
		args := map[string]string{"instance_type": `"m5.large"`, "ami": `"ami-1"`, name: value}
		list := `"w", "pw"`
		for name, value := range args {
			list += ", " + name + "=" + value
		}
		n := declare(t, list)
		p := n.Latent.Backend.(*Params)
		if !p.Varies() || !n.Latent.MayBeIncompatible {
			t.Errorf("%s: it does not vary", name)
		}
		render := func(x string) latent.Arguments {
			a, err := p.Render(t.Context(), props{"x": x})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return a
		}
		if one := render("1"); one.Equal(render("2")) || !one.Equal(render("1")) {
			t.Errorf("%s: an instance of %v serves every build", name, one)
		}
	}
}

// A reload sees every argument that changes (D2.4).
func TestEC2Content(t *testing.T) {
	seen := map[config.Digest]string{config.Hash(declare(t, `"w", "pw", "m5.large", "ami-1"`)): "nothing"}
	for _, more := range []string{
		`elastic_ip="192.0.2.1"`, `identifier="a", secret_identifier="b"`, `identifier="a", secret_identifier="c"`, `identifier=util.Secret("a"), secret_identifier="b"`, `aws_id_file_path="x"`,
		`user_data="x"`, `region="us-west-2"`, `keypair_name="x"`, `security_name="x"`, `spot_instance=True`, `max_spot_price=1`, `max_spot_price=None`, `volumes=[("vol-1", "a")]`,
		`volumes=[("vol-1", "b")]`, `placement="a"`, `price_multiplier=1`, `tags={"a": "b"}`, `product_description="Windows"`, `subnet_id="subnet-1"`, `security_group_ids=["sg-1"]`,
		`instance_profile_name="x"`, `block_device_map=[{"DeviceName": "a"}]`, `block_device_map=[{"DeviceName": "b"}]`, `profile="x"`, `endpoint_url="http://x"`,
	} {
		h := config.Hash(declare(t, `"w", "pw", "m5.large", "ami-1", `+more))
		if seen[h] != "" {
			t.Errorf("%s is the same as %s", more, seen[h])
		}
		seen[h] = more
	}
}

func TestEC2RenderErrors(t *testing.T) {
	p := params(t, `"w", "pw", instance_type=util.Property("kind"), ami=util.Property("ami"), user_data=util.Property("data"), tags=util.Property("tags")`)
	good := props{"kind": "m5.large", "ami": "ami-1", "data": "x", "tags": map[string]any{}}
	if _, err := p.Render(t.Context(), good); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		property string
		value    any
		want     string
	}{
		{"kind", int64(3), "render instance_type: want string"},
		{"kind", "", "render instance_type: want string, got None"},
		{"ami", nil, "ami is empty"},
		{"data", strings.Repeat("x", maxUserData+1), "user_data: it has 16385 bytes, and an instance takes 16384"},
		{"tags", map[string]any{"aws:x": "y"}, `tags: "aws:x": keys that begin with aws: or buildstar. are not free`},
		{"tags", map[string]any{"x": strings.Repeat("y", maxTagValue+1)}, `tags: "x": a value has at most 256 characters`},
		{"tags", map[string]any{"x": int64(1)}, `render tags: "x": want string`},
	} {
		bad := maps.Clone(good)
		bad[c.property] = c.value
		_, err := p.Render(t.Context(), bad)
		wantError(t, err, c.want)
	}
}

// The ledger keeps what Render returns: no secret is in it, and what everybody sees has none at
// all.
func TestEC2Secrets(t *testing.T) {
	p := params(t, `"w", "pw", "m5.large", "ami-1", user_data=util.Interpolate("key=%(secret:api)s")`)
	a, err := p.Render(t.Context(), props{})
	if err != nil || a["user_data"] != "key=@SECRET:api@" {
		t.Errorf("%v, %v", a, err)
	}
	for _, c := range []struct {
		value string
		ok    bool
	}{{"@SECRET:api@", true}, {"@SECRET:deploy@", false}, {"@SECRET:@ @api@", true}} {
		p := params(t, `"w", "pw", "m5.large", "ami-1", user_data=util.Interpolate("key=%(secret:api)s branch=%(prop:branch)s")`)
		if a, err := p.Render(t.Context(), props{"branch": c.value}); (err == nil) != c.ok {
			t.Errorf("a property %q: %v, %v", c.value, a, err)
		}
	}
	_, err = params(t, `"w", "pw", "m5.large", "ami-1", tags={"a": util.Interpolate("%(secret:api)s")}`).Render(t.Context(), props{})
	wantError(t, err, "the provider shows this to everybody")
	bubble(t, ec2test.Options{}, func(t *testing.T, r *rig) {
		r.open(`user_data="@SECRET:lost@"`)
		_, err := r.tryStart(nil)
		wantError(t, err, "user_data: ")
	})
}

// What every worker has, this one has too.
func TestEC2Common(t *testing.T) {
	n := declare(t, `"w", "pw", "m5.large", "ami-1", max_builds=2, properties={"a": 1}, defaultProperties={"b": 2}, keepalive_interval=60,
		locks=[util.MasterLock("l").access("exclusive")], machine_name="m", masterFQDN="ci:1", caps=[util.InstanceCap("c", max_instances=3)],
		check_instance_interval=3, missing_timeout=4`)
	l := n.Latent
	if n.MaxBuilds != 2 || n.Properties["a"] != int64(1) || n.DefaultProperties["b"] != int64(2) || n.Keepalive != time.Minute || len(n.Locks) != 1 || n.Machine != "m" {
		t.Errorf("%+v", n)
	}
	if l.MasterFQDN != "ci:1" || len(l.Caps) != 1 || l.Caps[0].MaxInstances != 3 || l.CheckEvery != 3*time.Second || l.Missing != 4*time.Second {
		t.Errorf("%+v", l)
	}
	if n := declare(t, `"w", None, "m5.large", "ami-1", user_data="@WORKERPASS@"`); n.Password != "" {
		t.Errorf("password %q", n.Password.Reveal())
	}
}

// docs/requirements.md D2.9: nothing but a start asks the provider for anything.
func TestEC2NoCalls(t *testing.T) {
	bubble(t, ec2test.Options{}, func(t *testing.T, r *rig) {
		r.open(`elastic_ip="192.0.2.1", spot_instance=True, volumes=[("vol-1", "/dev/sdf")]`)
		if _, err := r.launch(nil); err != nil {
			t.Fatal(err)
		}
		if calls := r.s.Calls(); len(calls) != 0 {
			t.Errorf("calls %v", calls)
		}
	})
}

// What `buildstar doctor` says of an account that is well, and of what is wrong with others.
func TestEC2Doctor(t *testing.T) {
	for name, tt := range map[string]struct {
		args  string
		fault ec2test.Fault
		want  []string
	}{
		"all is well": {args: `ami="IMAGE", placement="a", volumes=[("VOLUME", "/dev/sdf")], elastic_ip="ADDRESS"`, want: []string{
			"fine credentials: ...AKID, from identifier", "fine reach EC2 in us-east-1: 0 instances run in the account", "fine clock: 0s off Amazon's", "fine image: IMAGE at 123456789012/worker",
			"fine instance type: m5.large: 2 processors, 8192 MiB", "fine key pair: latent_buildbot_slave will be made", "fine security group: latent_buildbot_slave will be made",
			"fine elastic address: ADDRESS", "fine volume: VOLUME: available in us-east-1a", "fine permission to run an instance: granted"}},
		"a subnet, and filters": {args: `valid_ami_owners=[123456789012], subnet_id="subnet-00000000000000001", security_group_ids=["sg-1"]`, want: []string{
			"fine image: IMAGE at 123456789012/worker", "fine subnet: subnet-00000000000000001 in us-east-1a", "ill security groups: look for security groups: InvalidGroup.NotFound: "}},
		"wrong in every way": {args: `ami="ami-0a", elastic_ip="192.0.2.1", volumes=[("vol-1", "/dev/sdf")]`, want: []string{
			"ill image: look for image ami-0a: InvalidAMIID.NotFound: ", "ill elastic address: look for elastic address 192.0.2.1: ", "ill volume: look for volume vol-1: ", "ill permission to run an instance: try: InvalidAMIID.NotFound"}},
		"a wrong secret":    {args: `ami="IMAGE", secret_identifier="wrong"`, want: []string{"ill reach EC2 in us-east-1: list instances: SignatureDoesNotMatch: "}},
		"no permission":     {args: `ami="IMAGE"`, fault: ec2test.Fault{Action: "RunInstances", Status: 403, Code: "UnauthorizedOperation"}, want: []string{"ill permission to run an instance: try: UnauthorizedOperation: "}},
		"nothing is plain":  {args: `instance_type=util.Property("k"), ami=util.Property("a")`, want: []string{"fine image: it depends on the build", "fine instance type: it depends on the build"}},
		"a secret is lost":  {args: `ami="IMAGE", secret_identifier=util.Secret("lost")`, want: []string{"ill credentials: "}},
		"no such instances": {args: `ami="IMAGE", instance_type="m5.enormous"`, want: []string{"ill instance type: look for instance type m5.enormous: InvalidInstanceType: "}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, ec2test.Options{Keys: map[string]string{"...AKID": "s3cret"}}, func(t *testing.T, r *rig) {
				args := `"w", "pw", identifier="...AKID"`
				for name, value := range map[string]string{"instance_type": `"m5.large"`, "secret_identifier": `"s3cret"`} {
					if !strings.Contains(tt.args, name+"=") {
						args += fmt.Sprintf(", %s=%s", name, value)
					}
				}
				fill := strings.NewReplacer("VOLUME", r.s.AddVolume("us-east-1a"), "ADDRESS", r.s.AddAddress(), "IMAGE", r.image)
				r.declare(fill.Replace(args + ", " + tt.args))
				if tt.fault != (ec2test.Fault{}) {
					r.s.Inject(tt.fault)
				}
				var got []string
				r.b.Examine(t.Context(), func(f latent.Finding) {
					got = append(got, fmt.Sprintf("%v %s: %s", f.Health, f.Check, f.Text))
					if f.Health == latent.Fine && f.Fix != "" {
						t.Errorf("%+v", f)
					}
				})
				for _, want := range tt.want {
					if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, fill.Replace(want)) }) {
						t.Errorf("no finding %q in %q", fill.Replace(want), got)
					}
				}
				if n := len(r.s.Instances(nil)) + r.s.Count("CreateKeyPair") + r.s.Count("CreateSecurityGroup"); n != 0 {
					t.Errorf("the doctor changed something: %v", r.s.Calls())
				}
			})
		})
	}
}
