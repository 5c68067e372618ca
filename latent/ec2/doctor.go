package ec2

import (
	"context"
	"fmt"
	"strings"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"buildstar/latent"
)

// examination is one Examine.
type examination struct {
	*backend
	ctx    context.Context
	api    *client
	report func(latent.Finding)
}

// Examine looks at the account and what is in it (latent.Doctor).
func (b *backend) Examine(ctx context.Context, report func(latent.Finding)) {
	api, err := b.client(ctx)
	if err != nil {
		report(latent.Examined("configuration of the SDK", "", err, ""))
		return
	}
	x := &examination{b, ctx, api, report}
	if !x.account() {
		return
	}
	image := x.image()
	x.instanceType()
	x.network()
	x.belongings()
	x.dryRun(image)
}

func (x *examination) found(check, text string, err error, fix string) bool {
	x.report(latent.Examined(check, text, err, fix))
	return err == nil
}

// account looks at the credentials and the clock, and counts what runs.
func (x *examination) account() bool {
	keys, err := x.api.credentials.Retrieve(x.ctx)
	id := keys.AccessKeyID
	if len(id) > 4 {
		id = "..." + id[len(id)-4:]
	}
	if !x.found("credentials", fmt.Sprintf("%s, from %s", id, keys.Source), err, "write identifier and secret_identifier, aws_id_file_path or profile, or give the master's machine a role") {
		return false
	}
	where := "EC2 in " + x.region
	if x.params.EndpointURL != "" {
		where += " at " + x.params.EndpointURL
	}
	out, err := x.api.DescribeInstances(x.ctx, &ec2.DescribeInstancesInput{Filters: []types.Filter{equals("instance-state-name", "pending", "running")}})
	fix := ""
	switch code(err) {
	case "AuthFailure", "SignatureDoesNotMatch", "RequestExpired":
		fix = "check the access key, its secret, and the clock of this machine"
	case "UnauthorizedOperation":
		fix = "allow ec2:DescribeInstances in the policy of the access key"
	}
	if err != nil {
		return x.found("reach "+where, "", failed("list instances", err), fix)
	}
	running := 0
	for _, r := range out.Reservations {
		running += len(r.Instances)
	}
	text := fmt.Sprintf("%d instances run in the account", running)
	if out.NextToken != nil {
		text = "more than " + text
	}
	x.found("reach "+where, text, nil, "")
	x.clock(out)
	return true
}

// skewAllowed is half of what the API allows.
const skewAllowed = 150 * time.Second

func (x *examination) clock(out *ec2.DescribeInstancesOutput) {
	skew, ok := awsmiddleware.GetAttemptSkew(out.ResultMetadata)
	if !ok {
		return
	}
	f := latent.Finding{Check: "clock", Text: fmt.Sprintf("%v off Amazon's", skew.Round(time.Second))}
	if skew.Abs() > skewAllowed {
		f.Health, f.Fix = latent.Doubtful, "run an NTP client on this machine"
	}
	x.report(f)
}

// image returns the id of the image if that does not depend on a build.
func (x *examination) image() string {
	ami, plain := x.params.AMI.Plain()
	if !plain {
		x.found("image", "it depends on the build", nil, "")
		return ""
	}
	if ami == nil {
		c, err := x.choose(x.ctx, x.api)
		x.found("image", c.id+" at "+c.location, err, "check valid_ami_owners and valid_ami_location_regex")
		return c.id
	}
	out, err := x.api.DescribeImages(x.ctx, &ec2.DescribeImagesInput{ImageIds: []string{*ami}})
	if err == nil && (len(out.Images) == 0 || out.Images[0].State != types.ImageStateAvailable) {
		err = fmt.Errorf("it is not available")
	}
	text := *ami
	if err == nil {
		text += " at " + orZero(out.Images[0].ImageLocation)
	}
	x.found("image", text, failed("look for image "+*ami, err), "check ami, and that it is in this region and shared with the account")
	return *ami
}

func (x *examination) instanceType() {
	kind, plain := x.params.InstanceType.Plain()
	if !plain {
		x.found("instance type", "it depends on the build", nil, "")
		return
	}
	out, err := x.api.DescribeInstanceTypes(x.ctx, &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{types.InstanceType(kind)}})
	text := kind
	if err == nil && len(out.InstanceTypes) > 0 {
		if t := out.InstanceTypes[0]; t.VCpuInfo != nil && t.MemoryInfo != nil {
			text += fmt.Sprintf(": %d processors, %d MiB", orZero(t.VCpuInfo.DefaultVCpus), orZero(t.MemoryInfo.SizeInMiB))
		}
	}
	x.found("instance type", text, failed("look for instance type "+kind, err), "check instance_type")
}

// network looks at key pair, groups and subnet. What the first start makes is not missing.
func (x *examination) network() {
	p := x.params
	_, err := x.api.DescribeKeyPairs(x.ctx, &ec2.DescribeKeyPairsInput{KeyNames: []string{*p.KeypairName}})
	text := *p.KeypairName
	if code(err) == "InvalidKeyPair.NotFound" {
		text, err = text+" will be made", nil
	}
	x.found("key pair", text, failed("look for key pair", err), "")
	if name := orZero(p.SecurityName); name != "" {
		_, err := x.api.DescribeSecurityGroups(x.ctx, &ec2.DescribeSecurityGroupsInput{GroupNames: []string{name}})
		text := name
		if code(err) == "InvalidGroup.NotFound" {
			text, err = text+" will be made", nil
		}
		x.found("security group", text, failed("look for security group "+name, err), "an account without a default VPC needs subnet_id and security_group_ids")
	}
	if ids := p.SecurityGroupIDs; len(ids) > 0 {
		_, err := x.api.DescribeSecurityGroups(x.ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: ids})
		x.found("security groups", strings.Join(ids, ", "), failed("look for security groups", err), "check security_group_ids")
	}
	if p.SubnetID != "" {
		out, err := x.api.DescribeSubnets(x.ctx, &ec2.DescribeSubnetsInput{SubnetIds: []string{p.SubnetID}})
		text := p.SubnetID
		if err == nil && len(out.Subnets) > 0 {
			text += " in " + orZero(out.Subnets[0].AvailabilityZone)
		}
		x.found("subnet", text, failed("look for subnet", err), "check subnet_id")
	}
}

// belongings looks at the address and the volumes.
func (x *examination) belongings() {
	if ip := x.params.ElasticIP; ip != "" {
		a, err := address(x.ctx, x.api, ip)
		text := ip
		if err == nil && orZero(a.InstanceId) != "" {
			text += " of instance " + *a.InstanceId
		}
		x.found("elastic address", text, err, "allocate it, or check elastic_ip and region")
	}
	for _, v := range x.params.Volumes {
		out, err := x.api.DescribeVolumes(x.ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{v.ID}})
		text := v.ID
		if err == nil && len(out.Volumes) > 0 {
			text += fmt.Sprintf(": %s in %s", out.Volumes[0].State, orZero(out.Volumes[0].AvailabilityZone))
		}
		x.found("volume", text, failed("look for volume "+v.ID, err), "check volumes and placement")
	}
}

// dryRun asks whether an instance may be started, with its tags.
func (x *examination) dryRun(image string) {
	kind, plain := x.params.InstanceType.Plain()
	if image == "" || !plain {
		return
	}
	_, err := x.api.RunInstances(x.ctx, &ec2.RunInstancesInput{
		ImageId: &image, InstanceType: types.InstanceType(kind), MinCount: pointer[int32](1), MaxCount: pointer[int32](1), DryRun: pointer(true),
		TagSpecifications: x.tags(wanted{}, latent.Ref{Worker: "doctor"}),
	})
	fix := ""
	switch code(err) {
	case "DryRunOperation":
		err = nil
	case "UnauthorizedOperation":
		fix = "allow ec2:RunInstances and ec2:CreateTags in the policy of the access key"
	}
	x.found("permission to run an instance", "granted", failed("try", err), fix)
}
