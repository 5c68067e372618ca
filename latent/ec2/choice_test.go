package ec2

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"buildstar/latent/ec2/ec2test"
)

// docs/requirements.md A10.13 to A10.18, B4: which image is the one.
func TestEC2ImageChoice(t *testing.T) {
	const a, b = "011111111111", "222222222222"
	for name, tt := range map[string]struct {
		args   string
		images []string // OWNER LOCATION [STATE]; the wanted one begins with *
		want   string   // of the error
	}{
		"the last by location":         {`valid_ami_owners=11111111111`, []string{a + " b/x9", "*" + a + " c/x1", a + " c/x0", b + " z/z"}, ""},
		"of several owners":            {`valid_ami_owners=[11111111111, 222222222222]`, []string{a + " b/x", "*" + b + " c/x", "333333333333 d/x"}, ""},
		"matched at the beginning":     {`valid_ami_location_regex="build-"`, []string{"*" + a + " build-1", a + " rebuild-2"}, ""},
		"the group sorts first":        {`valid_ami_location_regex=r"build\-.*\-(.*)/image.manifest.xml"`, []string{a + " build-z-1/image.manifest.xml", "*" + a + " build-a-2/image.manifest.xml"}, ""},
		"integers sort as numbers":     {`valid_ami_location_regex=r"build-.*-(\d+)/i"`, []string{"*" + a + " build-a-10/i", a + " build-z-9/i", a + " build-y-1/i"}, ""},
		"longer than any integer type": {`valid_ami_location_regex=r"b-(\d+)"`, []string{a + " b-99999999999999999999", "*" + a + " b-100000000000000000000"}, ""},
		"one text makes all texts":     {`valid_ami_location_regex=r"b-(.*)/i"`, []string{a + " b-10/i", "*" + a + " b-9/i", a + " b-1x/i"}, ""},
		"only the first group counts":  {`valid_ami_location_regex=r"b-(\d+)-(\d+)"`, []string{a + " b-1-9", "*" + a + " b-2-1"}, ""},
		"a tie goes to the location":   {`valid_ami_location_regex=r".*/b-(\d+)"`, []string{a + " x/b-2", "*" + a + " y/b-2", a + " z/b-1"}, ""},
		"then to the id":               {`valid_ami_owners=11111111111`, []string{a + " same", "*" + a + " same"}, ""},
		"owners and location":          {`valid_ami_owners=[222222222222], valid_ami_location_regex="x"`, []string{a + " x9", "*" + b + " x1", b + " y"}, ""},
		"available ones":               {`valid_ami_owners=11111111111`, []string{"*" + a + " b", a + " c pending"}, ""},
		"none":                         {`valid_ami_owners=11111111111, valid_ami_location_regex="x"`, []string{b + " x"}, `choose image: no available image of 011111111111 matches "x"`},
		"none of anybody":              {`valid_ami_location_regex="nonesuch"`, nil, `no available image of anybody matches "nonesuch"`},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, ec2test.Options{}, func(t *testing.T, r *rig) {
				want := ""
				for _, text := range tt.images {
					text, wanted := strings.CutPrefix(text, "*")
					part := append(strings.Fields(text), "")
					id := r.s.AddImage(ec2test.Image{Owner: part[0], Location: part[1], State: part[2], Name: "n"})
					if wanted {
						want = id
					}
				}
				r.open(tt.args)
				ref, err := r.tryStart(nil)
				if tt.want != "" {
					wantError(t, err, tt.want)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if i := r.s.Instances(nil)[0]; i.ImageID != want || i.ID != ref.Handle {
					t.Errorf("started %s, want %s", i.ImageID, want)
				}
				if !strings.Contains(r.log.String(), "image "+want+" at ") {
					t.Errorf("log: %s", &r.log)
				}
			})
		})
	}
}

// Of thirty images in any order, the one with the greatest number.
func TestEC2ImageOfMany(t *testing.T) {
	bubble(t, ec2test.Options{}, func(t *testing.T, r *rig) {
		ids := map[int]string{}
		for _, n := range rand.Perm(30) {
			ids[n] = r.s.AddImage(ec2test.Image{Location: fmt.Sprintf("bucket/build-%c-%d/image.manifest.xml", 'z'-n%26, n)})
		}
		r.open(`valid_ami_location_regex=r"bucket/build-.*-(\d+)/image.manifest.xml"`)
		if _, i := r.start(); i.ImageID != ids[29] {
			t.Errorf("started %s, want %s", i.ImageID, ids[29])
		}
	})
}

// docs/requirements.md A10.8 to A10.12, B4: every way to say whose account it is.
func TestEC2Credentials(t *testing.T) {
	write := func(t *testing.T, path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const keys = "AKID\ns3cret\n"
	const shared = "[default]\naws_access_key_id = OTHER\naws_secret_access_key = o\n[ci]\naws_access_key_id = AKID\naws_secret_access_key = s3cret\nregion = us-east-1\n"
	for name, tt := range map[string]struct {
		args  string
		files map[string]string // ~/ is the home, others are below the basedir
		env   map[string]string
		want  string // of the error
	}{
		"strings":                {args: `identifier="AKID", secret_identifier="s3cret"`},
		"secrets":                {args: `identifier=util.Secret("id"), secret_identifier=util.Secret("key")`},
		"a file":                 {args: `aws_id_file_path="keys"`, files: map[string]string{"keys": keys}},
		"a file at home":         {args: `aws_id_file_path="~/keys"`, files: map[string]string{"~/keys": " AKID \r\n s3cret\r\nmore"}},
		"the file of old":        {files: map[string]string{"~/.ec2/aws_id": keys}},
		"a profile":              {args: `profile="ci"`, files: map[string]string{"~/.aws/credentials": shared, "~/.ec2/aws_id": "OTHER\no\n"}, env: map[string]string{"AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}},
		"the environment":        {env: map[string]string{"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "s3cret"}},
		"identifier wins":        {args: `identifier="AKID", secret_identifier="s3cret"`, files: map[string]string{"~/.ec2/aws_id": "OTHER\no\n"}},
		"a wrong secret":         {args: `identifier="AKID", secret_identifier="wrong"`, want: "SignatureDoesNotMatch"},
		"a wrong id":             {args: `identifier="AKIDX", secret_identifier="s3cret"`, want: "AuthFailure: AWS was not able to validate"},
		"a secret that is lost":  {args: `identifier=util.Secret("id"), secret_identifier=util.Secret("lost")`, want: "file does not exist"},
		"a file that is lost":    {args: `aws_id_file_path="lost"`, want: "read the keys of the account: "},
		"a file of one line":     {args: `aws_id_file_path="keys"`, files: map[string]string{"keys": "AKID\n"}, want: "want the access key id in line 1"},
		"a profile that is lost": {args: `profile="lost"`, want: "load the AWS configuration: "},
		"nothing":                {want: "get credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			t.Setenv("HOME", home)
			for k, v := range tt.env {
				t.Setenv(k, strings.Replace(v, "~", home, 1))
			}
			bubble(t, ec2test.Options{}, func(t *testing.T, r *rig) {
				r.secrets["id"], r.secrets["key"] = "AKID\n", "s3cret"
				for path, text := range tt.files {
					if rest, ok := strings.CutPrefix(path, "~/"); ok {
						write(t, filepath.Join(home, rest), text)
					} else {
						write(t, filepath.Join(r.env.Basedir, path), text)
					}
				}
				r.declare(`"w_1", "pw", "m5.large", ami="IMAGE", ` + tt.args)
				_, err := r.tryStart(nil)
				if tt.want != "" {
					wantError(t, err, tt.want)
				} else if err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A secret that is replaced is read again.
func TestEC2SecretChanges(t *testing.T) {
	bubble(t, ec2test.Options{Keys: map[string]string{"AKID": "old", "AKID2": "new"}}, func(t *testing.T, r *rig) {
		r.secrets["id"], r.secrets["key"] = "AKID", "old"
		r.declare(`"w_1", "pw", "m5.large", ami="IMAGE", identifier=util.Secret("id"), secret_identifier=util.Secret("key")`)
		ref, _ := r.start()
		r.secrets["id"], r.secrets["key"] = "AKID2", "new"
		time.Sleep(time.Hour)
		r.stop(ref, true)
		r.alive(0)
	})
}

// The region is the argument's, else the environment's, else us-east-1.
func TestEC2Region(t *testing.T) {
	for _, tt := range []struct{ args, env, want string }{
		{"", "", "us-east-1a"}, {"", "eu-central-1", "eu-central-1a"}, {`region="us-west-2"`, "eu-central-1", "us-west-2a"}, {`placement="c"`, "eu-central-1", "eu-central-1c"},
	} {
		t.Setenv("AWS_REGION", tt.env)
		bubble(t, ec2test.Options{Region: tt.want[:len(tt.want)-1]}, func(t *testing.T, r *rig) {
			r.open(tt.args)
			if _, i := r.start(); i.Zone != tt.want {
				t.Errorf("%+v: in %s", tt, i.Zone)
			}
		})
	}
}

// endpoint_url is where requests go.
func TestEC2Endpoint(t *testing.T) {
	s, err := ec2test.Start(ec2test.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p := params(t, plain+fmt.Sprintf(`, ami="ami-1", endpoint_url=%q`, s.URL))
	r := newRig(t, ec2test.Options{})
	b, err := p.Open(r.env)
	if err != nil {
		t.Fatal(err)
	}
	if refs, err := b.(*backend).List(t.Context()); err != nil || len(refs) != 0 {
		t.Errorf("%v, %v", refs, err)
	}
	if calls := s.Calls(); !slices.Equal(calls, []string{"DescribeInstances"}) {
		t.Errorf("calls %v", calls)
	}
}

// docs/requirements.md A10.24 to A10.28, B4: what a spot instance may cost.
func TestEC2Spot(t *testing.T) {
	hours := func(kind, product, zone string, prices ...float64) (l []ec2test.Price) {
		for i, p := range prices {
			l = append(l, ec2test.Price{Type: kind, Product: product, Zone: zone, Time: time.Now().Add(-time.Duration(i+1) * time.Hour), Dollars: p})
		}
		return l
	}
	for name, tt := range map[string]struct {
		args   string
		prices func() []ec2test.Price
		bid    string
		want   string // of the error
	}{
		"1.2 times the mean":   {"", func() []ec2test.Price { return hours("m5.large", "Linux/UNIX", "us-east-1a", 0.01, 0.03) }, "0.024", ""},
		"times the multiplier": {"price_multiplier=1.5", func() []ec2test.Price { return hours("m5.large", "Linux/UNIX", "us-east-1a", 0.02, 0.02) }, "0.03", ""},
		"at most the cap":      {"max_spot_price=0.021", func() []ec2test.Price { return hours("m5.large", "Linux/UNIX", "us-east-1a", 0.02, 0.02) }, "0.021", ""},
		"at most 1.6 dollars":  {"", func() []ec2test.Price { return hours("m5.large", "Linux/UNIX", "us-east-1a", 1.5) }, "1.6", ""},
		"without a cap":        {"max_spot_price=None", func() []ec2test.Price { return hours("m5.large", "Linux/UNIX", "us-east-1a", 3) }, "3.6", ""},
		"the cap itself":       {"price_multiplier=None, max_spot_price=0.5", func() []ec2test.Price { return hours("m5.large", "Linux/UNIX", "us-east-1a", 0.1) }, "0.5", ""},
		"of the zone": {`placement="b"`, func() []ec2test.Price {
			return append(hours("m5.large", "Linux/UNIX", "us-east-1a", 1), hours("m5.large", "Linux/UNIX", "us-east-1b", 0.1)...)
		}, "0.12", ""},
		"of the product": {`product_description="Windows", max_spot_price=9`, func() []ec2test.Price {
			return append(hours("m5.large", "Linux/UNIX", "us-east-1a", 1), hours("m5.large", "Windows", "us-east-1a", 2)...)
		}, "2.4", ""},
		"two cents if nobody knows": {`product_description="Windows"`, func() []ec2test.Price { return hours("m5.large", "Linux/UNIX", "us-east-1a", 0.01) }, "0.02", ""},
		"too low": {"max_spot_price=0.05", func() []ec2test.Price { return hours("m5.large", "Linux/UNIX", "us-east-1a", 0.06, 0.01) }, "",
			"as a spot instance for $0.042 an hour: SpotMaxPriceTooLow: Your Spot request price of 0.042 is lower than the minimum required Spot request fulfillment price of 0.06."},
		"no capacity": {"", func() []ec2test.Price { return []ec2test.Price{} }, "", "InsufficientInstanceCapacity"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, ec2test.Options{}, func(t *testing.T, r *rig) {
				r.s.SetPrices(tt.prices())
				r.open("spot_instance=True, " + tt.args)
				ref, err := r.tryStart(nil)
				if tt.want != "" {
					wantError(t, err, tt.want)
				} else if err != nil {
					t.Fatal(err)
				} else if i := r.s.Instances(nil)[0]; i.MaxPrice != tt.bid || i.SpotRequest == "" {
					t.Errorf("bid %s, want %s; log: %s", i.MaxPrice, tt.bid, &r.log)
				}
				r.stop(ref, false)
				r.alive(0)
				if open := r.s.SpotRequests(map[string]string{tagMaster: "M1"}); slices.Contains(open, "open") || slices.Contains(open, "active") {
					t.Errorf("requests are left: %v", open)
				}
			})
		})
	}
}

// docs/requirements.md A10.28: the final status of a request says why its instance is gone. The AMI filters
// work for spot instances too (D2.9).
func TestEC2SpotEnds(t *testing.T) {
	bubble(t, ec2test.Options{}, func(t *testing.T, r *rig) {
		want := r.s.AddImage(ec2test.Image{Owner: "222222222222"})
		r.open("spot_instance=True, valid_ami_owners=222222222222")
		ref, i := r.start()
		if i.ImageID != want {
			t.Errorf("image %s", i.ImageID)
		}
		r.s.Kill(ref.Handle, "Server.SpotInstanceTermination", "Instance terminated by Spot")
		good, message, err := r.b.Check(t.Context(), ref)
		if good || err != nil || !strings.Contains(message, "is terminated: Server.SpotInstanceTermination") ||
			!strings.Contains(message, "; spot request "+i.SpotRequest+": instance-terminated-no-capacity: ") {
			t.Errorf("%v, %q, %v", good, message, err)
		}
	})
}
