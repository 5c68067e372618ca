// Package ec2 runs latent workers in instances of Amazon EC2 (docs/requirements.md A10, B4).
//
// An instance and its disks have tags from the moment that they exist: which master started it,
// for which worker and which attempt. The client token of its start is master and attempt, so
// that a start that is tried again makes one instance. What nobody knows is found by the tags.
package ec2

import (
	"fmt"
	"regexp"
	"strings"

	"buildstar/builtins/worker"
	"buildstar/config/prop"
	"buildstar/latent"
	"buildstar/starlark/spec"
)

// Worker is worker.EC2LatentWorker (docs/requirements.md A10, B3, B4).
var Worker = &spec.Class{
	Module: "worker", Name: "EC2LatentWorker",
	New: func() any {
		most, factor := 1.6, 1.2
		w := &ec2Worker{Latent: worker.LatentDefaults()}
		w.KeypairName = pointer(oldName)
		w.MaxSpotPrice, w.PriceMultiplier = &most, &factor
		w.ProductDescription = "Linux/UNIX"
		return w
	},
	Unsupported: unsupported(), Renamed: worker.Renamed(), Partial: true,
}

func unsupported() map[string]string {
	u := worker.LatentUnsupported()
	u["session"] = "write what makes the session: region, and profile, or identifier and secret_identifier"
	return u
}

// oldName is how Buildbot has called its key pair and its security group since 0.8 (A10.23).
const oldName = "latent_buildbot_slave"

func pointer[T any](v T) *T { return &v }

// ec2Worker is a worker that runs in an instance of Amazon EC2, which the master starts when a
// build needs it. The image must start a worker that dials the master, or do what user_data
// says, which can.
type ec2Worker struct {
	// Name identifies the worker, as worker.Worker's does.
	Name string `star:"name"`
	// Password is what the worker logs in with. None makes a random one for each instance,
	// which gets it by @WORKERPASS@ in user_data.
	Password *prop.Credential `star:"password"`
	Params
	worker.Latent `star:",kw"`
}

// Params is what master.star says of the instances of a worker.
type Params struct {
	// InstanceType is the type of the instance: "m5.large".
	InstanceType prop.Template[string] `star:"instance_type"`
	// AMI is the id of the image; without it the image is chosen by valid_ami_owners,
	// valid_ami_location_regex or both.
	AMI prop.Template[*string] `star:"ami,optional"`
	// Owners are accounts, as integers without hyphens, one or a list: the image is one of
	// theirs, the one that sorts last by its location (A10.13, A10.15).
	Owners accounts `star:"valid_ami_owners,optional"`
	// LocationRegex is matched against the beginning of the locations of images
	// (OWNER/NAME, or bucket and manifest). What its first group matches sorts before the
	// location, as integers if all are. Without valid_ami_owners all public images are asked
	// for, which takes long (A10.14 to A10.17).
	LocationRegex string `star:"valid_ami_location_regex,optional"`
	// ElasticIP is an elastic address of the account, which the instance gets once it runs.
	ElasticIP string `star:"elastic_ip,optional"`
	// Identifier is the access key id, a string or util.Secret. Without it, in this order,
	// aws_id_file_path, profile, ~/.ec2/aws_id if it is there, or what the AWS SDK finds by
	// itself is used: the environment, ~/.aws, single sign-on, the role of this machine.
	Identifier *prop.Credential `star:"identifier,optional"`
	// SecretIdentifier is the secret access key of identifier, a string or util.Secret.
	SecretIdentifier *prop.Credential `star:"secret_identifier,optional"`
	// IDFile is a file whose first line is the access key id and whose second the secret one.
	// A relative path is below the master's basedir, ~/ is the home of the master's user.
	IDFile string `star:"aws_id_file_path,optional"`
	// UserData is what the instance can ask for, and its cloud-init runs; at most 16384 bytes.
	// In it @WORKERNAME@, @WORKERPASS@, @BUILDMASTER@ (the host), @BUILDMASTER_PORT@,
	// @BUILDMASTER_URL@ (ws://HOST:PORT) and @SECRET:name@ are replaced when the instance is
	// started.
	UserData prop.Template[*string] `star:"user_data,optional"`
	// Region is where the instance runs. The default is that of AWS_REGION or of the profile,
	// else us-east-1.
	Region string `star:"region,optional"`
	// KeypairName is the key pair that may log in to the instance. If there is none of this
	// name it is made, and its private key is written to ec2-REGION-NAME.pem in the master's basedir.
	KeypairName *string `star:"keypair_name,optional"`
	// SecurityName is a security group of the default VPC, by name; it is made, without rules,
	// if it is not there. The default is latent_buildbot_slave if there is neither subnet_id
	// nor security_group_ids.
	SecurityName *string `star:"security_name,optional"`
	// SpotInstance makes it a spot instance.
	SpotInstance bool `star:"spot_instance,optional"`
	// MaxSpotPrice is the most that a spot instance may cost, in dollars an hour. None is no
	// cap.
	MaxSpotPrice *float64 `star:"max_spot_price,optional" min:"0.0001"`
	// Volumes are attached once the instance runs: a list of (id of the volume, device).
	Volumes volumes `star:"volumes,optional"`
	// Placement is the letter of the zone in the region: "b".
	Placement string `star:"placement,optional"`
	// PriceMultiplier times the mean of the spot prices of the last 24 hours is the bid, up to
	// max_spot_price. None bids max_spot_price.
	PriceMultiplier *float64 `star:"price_multiplier,optional" min:"0.0001"`
	// Tags are put on the instance and its disks when they are made.
	Tags prop.Template[*map[string]string] `star:"tags,optional"`
	// ProductDescription is which spot prices count: "Linux/UNIX", "Windows".
	ProductDescription string `star:"product_description,optional"`
	// SubnetID is the subnet of a VPC that the instance is in.
	SubnetID string `star:"subnet_id,optional"`
	// SecurityGroupIDs are security groups by their ids.
	SecurityGroupIDs []string `star:"security_group_ids,optional"`
	// InstanceProfileName is the IAM instance profile: what the instance itself may do.
	InstanceProfileName string `star:"instance_profile_name,optional"`
	// BlockDeviceMap are the disks, by the names of the API: [{"DeviceName": "/dev/xvda",
	// "Ebs": {"VolumeSize": 20}}]. DeleteOnTermination is True unless it says otherwise.
	BlockDeviceMap devices `star:"block_device_map,optional"`
	// Profile is a profile of ~/.aws/config and ~/.aws/credentials.
	Profile string `star:"profile,optional"`
	// EndpointURL is the address of the API; the default is Amazon's in the region.
	EndpointURL string `star:"endpoint_url,optional"`

	test bench // set by tests only
}

var _ latent.Params = (*Params)(nil)

// Make makes the node.
func (w *ec2Worker) Make(c *spec.Call) any {
	w.checkImage(c)
	w.checkAccount(c)
	w.checkPlace(c)
	w.checkNetwork(c)
	if w.SpotInstance && w.MaxSpotPrice == nil && w.PriceMultiplier == nil {
		c.Problem("bad-value", "max_spot_price", "a spot instance needs a price, and price_multiplier is None too", "leave one of them out for its default")
	}
	w.checkTexts(c)
	return w.LatentNode(c, "EC2LatentWorker", w.Name, w.Password, &w.Params, w.Varies())
}

func (w *ec2Worker) checkImage(c *spec.Call) {
	ami, plain := w.AMI.Plain()
	filtered := len(w.Owners) > 0 || w.LocationRegex != "" || c.Given("valid_ami_owners") && c.Bad("valid_ami_owners")
	switch {
	case filtered && (!plain || ami != nil):
		c.Problem("bad-value", "ami", "valid_ami_owners and valid_ami_location_regex choose the image already", "leave ami out, or the two")
	case !filtered && plain && ami == nil && !c.Bad("ami"):
		c.Problem("missing-argument", "", "nothing says which image", `add ami="ami-...", or valid_ami_owners or valid_ami_location_regex`)
	case plain && ami != nil && !strings.HasPrefix(*ami, "ami-"):
		c.Problem("bad-value", "ami", fmt.Sprintf("%q is no id of an image: they begin with ami-", *ami), "")
	}
	if _, err := locationRegex(w.LocationRegex); err != nil {
		c.Problem("bad-value", "valid_ami_location_regex", err.Error(), "")
	}
}

// checkAccount checks that one thing at most says whose account it is.
func (w *ec2Worker) checkAccount(c *spec.Call) {
	for _, pair := range []struct {
		name, other string
		has, needs  *prop.Credential
	}{{"identifier", "secret_identifier", w.Identifier, w.SecretIdentifier}, {"secret_identifier", "identifier", w.SecretIdentifier, w.Identifier}} {
		switch {
		case pair.has != nil && !pair.has.IsSet():
			c.Problem("bad-value", pair.name, "it is empty", "")
		case pair.has != nil && pair.needs == nil && !c.Bad(pair.other):
			c.Problem("missing-parameter", pair.other, "required with "+pair.name, "")
		}
	}
	var ways []string
	for name, given := range map[string]bool{"identifier": w.Identifier != nil, "aws_id_file_path": w.IDFile != "", "profile": w.Profile != ""} {
		if given {
			ways = append(ways, name)
		}
	}
	if len(ways) > 1 {
		for _, name := range []string{"aws_id_file_path", "profile"} {
			if c.Given(name) {
				c.Problem("bad-value", name, "another argument says already whose account it is", "write identifier and secret_identifier, or aws_id_file_path, or profile")
				return
			}
		}
	}
}

// What regions and zones are called. There are new ones every year, but no new points of the
// compass.
var (
	regionName = regexp.MustCompile(`^(us|eu|ap|sa|ca|me|af|il|mx|cn|us-gov|us-iso[a-z]?|eu-isoe|eusc-de)-(north|south|east|west|central|northeast|northwest|southeast|southwest)-[0-9]{1,2}$`)
	zoneLetter = regexp.MustCompile(`^(-[a-z0-9-]+)?[a-z]$`)
	httpURL    = regexp.MustCompile(`^https?://[^/?#@\s]+/?$`)
)

func (w *ec2Worker) checkPlace(c *spec.Call) {
	if w.Region != "" && w.EndpointURL == "" && !regionName.MatchString(w.Region) {
		text, hint := fmt.Sprintf("%q is no region", w.Region), `write one such as "us-west-2"`
		if zone := w.Region[:len(w.Region)-1]; regionName.MatchString(zone) {
			text, hint = text+" but a zone of one", fmt.Sprintf("write region=%q, placement=%q", zone, w.Region[len(zone):])
		}
		c.Problem("bad-value", "region", text, hint)
	}
	if w.Placement != "" && !zoneLetter.MatchString(w.Placement) {
		c.Problem("bad-value", "placement", fmt.Sprintf("%q is no letter of a zone", w.Placement), `write "b" for us-west-2b`)
	}
	if w.EndpointURL != "" && !httpURL.MatchString(w.EndpointURL) {
		c.Problem("bad-value", "endpoint_url", fmt.Sprintf("%q is no address of the API", w.EndpointURL), `write one such as "https://ec2.us-west-2.amazonaws.com"`)
	}
	if w.ElasticIP != "" && !isIPv4(w.ElasticIP) {
		c.Problem("bad-value", "elastic_ip", fmt.Sprintf("%q is no IPv4 address", w.ElasticIP), "")
	}
}

func (w *ec2Worker) checkNetwork(c *spec.Call) {
	if w.KeypairName == nil || *w.KeypairName == "" {
		c.Problem("missing-argument", "keypair_name", "an instance has a key pair", "leave it out for "+oldName)
	}
	elsewhere := w.SubnetID != "" || len(w.SecurityGroupIDs) > 0 || c.Bad("subnet_id") || c.Bad("security_group_ids")
	switch {
	case w.SecurityName == nil && !elsewhere && c.Given("security_name"):
		c.Problem("missing-argument", "security_name", "an instance without subnet_id has a security group", "leave it out for "+oldName+", or write security_group_ids")
	case w.SecurityName == nil && !elsewhere:
		w.SecurityName = pointer(oldName)
	case w.SecurityName != nil && *w.SecurityName == "":
		c.Problem("bad-value", "security_name", "the name is empty", "")
	case w.SecurityName != nil && w.SubnetID != "":
		c.Problem("bad-value", "security_name", "an instance in a subnet has security groups by id", "write security_group_ids instead")
	}
}

// checkTexts checks what the instance is told, as far as it does not depend on a build.
func (w *ec2Worker) checkTexts(c *spec.Call) {
	data, plain := w.UserData.Plain()
	if plain && data != nil {
		if err := checkUserData(*data); err != nil {
			c.Problem("bad-value", "user_data", err.Error(), "")
		}
	}
	if w.Password == nil && plain && !strings.Contains(orZero(data), "@WORKERPASS@") && !c.Bad("password") && !c.Bad("user_data") {
		c.Problem("bad-value", "password", "nothing tells the instance its random password", "write a password, or @WORKERPASS@ in user_data")
	}
	if tags, plain := w.Tags.Plain(); plain {
		if err := checkTags(orZero(tags)); err != nil {
			c.Problem("bad-value", "tags", err.Error(), "")
		}
	}
}

func orZero[T any](v *T) (t T) {
	if v != nil {
		t = *v
	}
	return t
}
