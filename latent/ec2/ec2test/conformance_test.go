package ec2test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
)

// client returns a client of Amazon's own at a server, which tries once.
func client(s *Server, key, secret string) *ec2.Client {
	return ec2.New(ec2.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("https://ec2.test"), HTTPClient: &http.Client{Transport: s.Transport()},
		Credentials: credentials.NewStaticCredentialsProvider(key, secret, ""), RetryMaxAttempts: 1,
	})
}

// code is that of an API error, "" of nil.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return fmt.Sprint(err)
}

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: &name, Values: values}
}

// story is one user of the API, whose calls build on each other.
type story struct {
	t   *testing.T
	ctx context.Context
	s   *Server
	c   *ec2.Client

	image, key, group, subnet, zone, id string
	data                                string
}

// refused checks the code of an error.
func (x *story) refused(what string, err error, want string) {
	x.t.Helper()
	if got := code(err); got != want {
		x.t.Errorf("%s: %s, want %s", what, got, want)
	}
}

// good ends the test if there is an error.
func (x *story) good(what string, err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatalf("%s: %v", what, err)
	}
}

func (x *story) check(what string, ok bool, got any) {
	x.t.Helper()
	if !ok {
		x.t.Errorf("%s: %v", what, got)
	}
}

// TestClient holds the server to what Amazon's client expects of the calls that latent workers
// make, and of those that people make beside them.
func TestClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Boot: 20 * time.Second, Shutdown: 20 * time.Second, Keys: map[string]string{"AKIDEXAMPLE": "secret/+"}})
		x := &story{t: t, ctx: t.Context(), s: s, c: client(s, "AKIDEXAMPLE", "secret/+"), key: "ci"}
		x.images()
		x.network()
		x.run()
		x.look()
		x.address()
		x.volume()
		x.rest()
		x.spot()
		x.pages()
		x.end()
	})
}

func (x *story) images() {
	found, err := x.c.DescribeImages(x.ctx, &ec2.DescribeImagesInput{Owners: []string{"amazon"}, Filters: []types.Filter{
		filter("state", "available"), filter("architecture", "x86_64"), filter("name", "amzn*", "al20*")}})
	x.good("images of Amazon", err)
	if len(found.Images) != 2 {
		x.t.Fatalf("images of Amazon: %v", found.Images)
	}
	x.image = *found.Images[0].ImageId
	x.check("when the image was made", found.Images[0].CreationDate != nil && *found.Images[0].OwnerId == amazon, found.Images[0])
	mine, err := x.c.DescribeImages(x.ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}})
	x.check("no images of mine", err == nil && len(mine.Images) == 0, err)
	theirs, err := x.c.DescribeImages(x.ctx, &ec2.DescribeImagesInput{Owners: []string{amazon}})
	x.check("images by account", err == nil && len(theirs.Images) == 2, err)
	_, err = x.c.DescribeImages(x.ctx, &ec2.DescribeImagesInput{ImageIds: []string{"ami-0123456789abcdef0"}})
	x.refused("an image that is not there", err, "InvalidAMIID.NotFound")
	_, err = x.c.DescribeImages(x.ctx, &ec2.DescribeImagesInput{Filters: []types.Filter{filter("nmae", "x")}})
	x.refused("a filter that there is not", err, "InvalidParameterValue")
}

func (x *story) network() {
	made, err := x.c.CreateKeyPair(x.ctx, &ec2.CreateKeyPairInput{KeyName: &x.key})
	x.good("key pair", err)
	x.check("its private key", strings.Contains(*made.KeyMaterial, "PRIVATE KEY") && *made.KeyFingerprint != "", made)
	_, err = x.c.CreateKeyPair(x.ctx, &ec2.CreateKeyPairInput{KeyName: &x.key})
	x.refused("the key pair again", err, "InvalidKeyPair.Duplicate")
	_, err = x.c.DescribeKeyPairs(x.ctx, &ec2.DescribeKeyPairsInput{KeyNames: []string{"other"}})
	x.refused("another key pair", err, "InvalidKeyPair.NotFound")
	group, err := x.c.CreateSecurityGroup(x.ctx, &ec2.CreateSecurityGroupInput{GroupName: &x.key, Description: aws.String("test")})
	x.good("security group", err)
	x.group = *group.GroupId
	_, err = x.c.AuthorizeSecurityGroupIngress(x.ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &x.group, IpPermissions: []types.IpPermission{{
		IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: []types.IpRange{{CidrIp: aws.String("10.0.0.0/8")}}}}})
	x.good("a rule of the group", err)
	_, err = x.c.DescribeSecurityGroups(x.ctx, &ec2.DescribeSecurityGroupsInput{GroupNames: []string{"other"}})
	x.refused("another group", err, "InvalidGroup.NotFound")
	nets, err := x.c.DescribeSubnets(x.ctx, &ec2.DescribeSubnetsInput{})
	x.good("subnets", err)
	x.subnet = *nets.Subnets[0].SubnetId
	x.check("their zones", *nets.Subnets[1].AvailabilityZone == "us-east-1b", nets.Subnets[1])
}

func one() (least, most *int32) { return aws.Int32(1), aws.Int32(1) }

// start runs an instance of the image.
func (x *story) start(in ec2.RunInstancesInput) (*ec2.RunInstancesOutput, error) {
	in.MinCount, in.MaxCount = one()
	if in.ImageId == nil {
		in.ImageId = &x.image
	}
	return x.c.RunInstances(x.ctx, &in)
}

func (x *story) run() {
	x.data = base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\necho hi & <\n"))
	full := ec2.RunInstancesInput{
		InstanceType: types.InstanceTypeM5Large, KeyName: &x.key, SecurityGroupIds: []string{x.group}, SubnetId: &x.subnet, UserData: &x.data,
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("w1")}}}},
		BlockDeviceMappings: []types.BlockDeviceMapping{{DeviceName: aws.String("/dev/sdb"), Ebs: &types.EbsBlockDevice{
			VolumeSize: aws.Int32(20), VolumeType: types.VolumeTypeGp3, DeleteOnTermination: aws.Bool(true)}}},
	}
	made, err := x.start(full)
	x.good("run", err)
	x.id, x.zone = *made.Instances[0].InstanceId, *made.Instances[0].Placement.AvailabilityZone
	x.check("its first state", made.Instances[0].State.Name == "pending" && x.zone == "us-east-1a", made.Instances[0])
	_, err = x.start(ec2.RunInstancesInput{DryRun: aws.Bool(true)})
	x.refused("a dry run", err, "DryRunOperation")
	for want, in := range map[string]ec2.RunInstancesInput{
		"InvalidAMIID.NotFound":       {ImageId: aws.String("ami-0123456789abcdef0")},
		"InvalidAMIID.Malformed":      {ImageId: aws.String("ami-image")},
		"InvalidKeyPair.NotFound":     {KeyName: aws.String("other")},
		"InvalidGroup.NotFound":       {SecurityGroupIds: []string{"sg-1"}},
		"InvalidSubnetID.NotFound":    {SubnetId: aws.String("subnet-1")},
		"InvalidParameterValue":       {InstanceType: "m5.enormous"},
		"InvalidParameterCombination": {SubnetId: &x.subnet, SecurityGroups: []string{"default"}},
		"InvalidUserData.Malformed":   {UserData: aws.String("%")},
	} {
		_, err = x.start(in)
		x.refused("what cannot run", err, want)
	}
	again := ec2.RunInstancesInput{InstanceType: "t2.micro", ClientToken: aws.String("token-1")}
	first, err := x.start(again)
	x.good("run with a token", err)
	second, err := x.start(again)
	x.good("run with the token again", err)
	x.check("one instance for one token", *first.Instances[0].InstanceId == *second.Instances[0].InstanceId, second)
	again.InstanceType = "t2.small"
	_, err = x.start(again)
	x.refused("the token for something else", err, "IdempotentParameterMismatch")
}

func (x *story) look() {
	mine := &ec2.DescribeInstancesInput{InstanceIds: []string{x.id}}
	now, err := x.c.DescribeInstances(x.ctx, mine)
	x.check("pending", err == nil && now.Reservations[0].Instances[0].State.Name == "pending", err)
	x.good("wait until it runs", ec2.NewInstanceRunningWaiter(x.c).Wait(x.ctx, mine, time.Minute))
	now, err = x.c.DescribeInstances(x.ctx, mine)
	x.good("look at it", err)
	i := now.Reservations[0].Instances[0]
	x.check("what it is", *i.KeyName == x.key && *i.PrivateIpAddress != "" && *i.PublicDnsName != "" && len(i.Tags) == 1 && len(i.BlockDeviceMappings) == 2, i)
	found, err := x.c.DescribeInstances(x.ctx, &ec2.DescribeInstancesInput{Filters: []types.Filter{filter("tag:Name", "w?"), filter("instance-state-name", "running", "pending")}})
	x.check("find it by its tag", err == nil && len(found.Reservations) == 1, err)
	_, err = x.c.DescribeInstances(x.ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{"i-0123456789abcdef0"}})
	x.refused("an instance that is not there", err, "InvalidInstanceID.NotFound")
	status, err := x.c.DescribeInstanceStatus(x.ctx, &ec2.DescribeInstanceStatusInput{InstanceIds: []string{x.id}})
	x.check("its status", err == nil && status.InstanceStatuses[0].InstanceStatus.Status == "ok", err)
	x.s.Impair(x.id)
	status, err = x.c.DescribeInstanceStatus(x.ctx, &ec2.DescribeInstanceStatusInput{InstanceIds: []string{x.id}})
	x.check("its status when impaired", err == nil && status.InstanceStatuses[0].SystemStatus.Status == "impaired", err)
	attribute, err := x.c.DescribeInstanceAttribute(x.ctx, &ec2.DescribeInstanceAttributeInput{InstanceId: &x.id, Attribute: "userData"})
	x.check("its user data", err == nil && *attribute.UserData.Value == x.data, err)
	_, err = x.c.CreateTags(x.ctx, &ec2.CreateTagsInput{Resources: []string{x.id}, Tags: []types.Tag{{Key: aws.String("empty"), Value: aws.String("")}}})
	x.good("tag it", err)
	tags, err := x.c.DescribeTags(x.ctx, &ec2.DescribeTagsInput{Filters: []types.Filter{filter("resource-id", x.id)}})
	x.check("its tags", err == nil && len(tags.Tags) == 2 && *tags.Tags[1].Value == "", err)
	console, err := x.c.GetConsoleOutput(x.ctx, &ec2.GetConsoleOutputInput{InstanceId: &x.id})
	x.check("its console", err == nil && *console.Output != "", err)
	kinds, err := x.c.DescribeInstanceTypes(x.ctx, &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{"m1.large"}})
	x.check("an instance type", err == nil && len(kinds.InstanceTypes) == 1, err)
	_, err = x.c.DescribeInstanceTypes(x.ctx, &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{"m1.lagre"}})
	x.refused("a type that there is not", err, "InvalidInstanceType")
}

func (x *story) address() {
	made, err := x.c.AllocateAddress(x.ctx, &ec2.AllocateAddressInput{Domain: "vpc"})
	x.good("allocate", err)
	joined, err := x.c.AssociateAddress(x.ctx, &ec2.AssociateAddressInput{AllocationId: made.AllocationId, InstanceId: &x.id})
	x.good("associate", err)
	now, err := x.c.DescribeInstances(x.ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{x.id}})
	x.check("the address of the instance", err == nil && *now.Reservations[0].Instances[0].PublicIpAddress == *made.PublicIp, err)
	_, err = x.c.ReleaseAddress(x.ctx, &ec2.ReleaseAddressInput{AllocationId: made.AllocationId})
	x.refused("release while it is used", err, "InvalidIPAddress.InUse")
	_, err = x.c.DisassociateAddress(x.ctx, &ec2.DisassociateAddressInput{AssociationId: joined.AssociationId})
	x.good("disassociate", err)
	_, err = x.c.ReleaseAddress(x.ctx, &ec2.ReleaseAddressInput{AllocationId: made.AllocationId})
	x.good("release", err)
	_, err = x.c.DescribeAddresses(x.ctx, &ec2.DescribeAddressesInput{PublicIps: []string{*made.PublicIp}})
	x.refused("an address that is not there", err, "InvalidAddress.NotFound")
}

func (x *story) volume() {
	made, err := x.c.CreateVolume(x.ctx, &ec2.CreateVolumeInput{AvailabilityZone: &x.zone, Size: aws.Int32(1)})
	x.good("make a volume", err)
	attach := &ec2.AttachVolumeInput{VolumeId: made.VolumeId, InstanceId: &x.id, Device: aws.String("/dev/sdf")}
	joined, err := x.c.AttachVolume(x.ctx, attach)
	x.check("attach it", err == nil && joined.State == "attaching", err)
	now, err := x.c.DescribeVolumes(x.ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{*made.VolumeId}})
	x.check("it is used", err == nil && now.Volumes[0].State == "in-use" && *now.Volumes[0].Attachments[0].InstanceId == x.id, err)
	_, err = x.c.AttachVolume(x.ctx, attach)
	x.refused("attach it twice", err, "VolumeInUse")
	_, err = x.c.DetachVolume(x.ctx, &ec2.DetachVolumeInput{VolumeId: made.VolumeId, InstanceId: &x.id, Force: aws.Bool(true)})
	x.good("detach it", err)
	_, err = x.c.DeleteVolume(x.ctx, &ec2.DeleteVolumeInput{VolumeId: made.VolumeId})
	x.good("delete it", err)
}

func (x *story) rest() {
	_, err := x.c.StopInstances(x.ctx, &ec2.StopInstancesInput{InstanceIds: []string{x.id}})
	x.good("stop", err)
	x.good("wait until it is stopped", ec2.NewInstanceStoppedWaiter(x.c).Wait(x.ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{x.id}}, time.Minute))
	_, err = x.c.StartInstances(x.ctx, &ec2.StartInstancesInput{InstanceIds: []string{x.id}})
	x.good("start", err)
	made, err := x.c.CreateImage(x.ctx, &ec2.CreateImageInput{InstanceId: &x.id, Name: aws.String("mine")})
	x.good("make an image", err)
	found, err := x.c.DescribeImages(x.ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: []types.Filter{filter("name", "mine")}})
	x.check("find the image", err == nil && len(found.Images) == 1 && *found.Images[0].ImageId == *made.ImageId, err)
}

func (x *story) prices(since time.Duration) (texts []string) {
	at := time.Now().Add(-since)
	r, err := x.c.DescribeSpotPriceHistory(x.ctx, &ec2.DescribeSpotPriceHistoryInput{
		StartTime: &at, InstanceTypes: []types.InstanceType{"m5.large"}, AvailabilityZone: aws.String("us-east-1a"), ProductDescriptions: []string{"Linux/UNIX (Amazon VPC)"},
	})
	x.good("spot prices", err)
	for _, p := range r.SpotPriceHistory {
		texts = append(texts, *p.SpotPrice)
	}
	return texts
}

func (x *story) spot() {
	x.check("some spot prices", len(x.prices(24*time.Hour)) > 0, "none")
	var history []Price
	for age, dollars := range map[time.Duration]float64{time.Hour: 0.04, 20 * time.Hour: 0.02, 30 * time.Hour: 0.01, 40 * time.Hour: 9} {
		history = append(history, Price{"m5.large", "Linux/UNIX", "us-east-1a", time.Now().Add(-age), dollars})
	}
	x.s.SetPrices(history)
	x.check("spot prices of a day, and the one before it", slices.Equal(x.prices(24*time.Hour), []string{"0.040000", "0.020000", "0.010000"}), x.prices(24*time.Hour))
	ask := func(price string) *types.SpotInstanceRequest {
		r, err := x.c.RequestSpotInstances(x.ctx, &ec2.RequestSpotInstancesInput{SpotPrice: &price, InstanceCount: aws.Int32(1), LaunchSpecification: &types.RequestSpotLaunchSpecification{
			ImageId: &x.image, KeyName: &x.key, InstanceType: "m5.large", UserData: &x.data, SecurityGroupIds: []string{x.group}}})
		x.good("request a spot instance", err)
		r2, err := x.c.DescribeSpotInstanceRequests(x.ctx, &ec2.DescribeSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{*r.SpotInstanceRequests[0].SpotInstanceRequestId}})
		x.good("look at the request", err)
		return &r2.SpotInstanceRequests[0]
	}
	low := ask("0.03")
	x.check("a price too low", low.State == "open" && *low.Status.Code == "price-too-low" && low.InstanceId == nil, low)
	high := ask("0.05")
	x.check("a price high enough", high.State == "active" && *high.Status.Code == "fulfilled" && high.InstanceId != nil, high)
	off, err := x.c.CancelSpotInstanceRequests(x.ctx, &ec2.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{*low.SpotInstanceRequestId}})
	x.check("cancel it", err == nil && off.CancelledSpotInstanceRequests[0].State == "cancelled", err)
	market := func(price string) (*ec2.RunInstancesOutput, error) {
		return x.start(ec2.RunInstancesInput{InstanceType: "m5.large", InstanceMarketOptions: &types.InstanceMarketOptionsRequest{
			MarketType: "spot", SpotOptions: &types.SpotMarketOptions{MaxPrice: &price}}})
	}
	made, err := market("0.04")
	x.check("run at the price", err == nil && made.Instances[0].InstanceLifecycle == "spot" && *made.Instances[0].SpotInstanceRequestId != "", err)
	_, err = market("0.039")
	x.refused("run below the price", err, "SpotMaxPriceTooLow")
	if made == nil {
		return
	}
	x.s.Kill(*made.Instances[0].InstanceId, "Server.SpotInstanceTermination", "Instance terminated by Spot")
	now, err := x.c.DescribeSpotInstanceRequests(x.ctx, &ec2.DescribeSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{*made.Instances[0].SpotInstanceRequestId}})
	x.check("its request after the interruption", err == nil && *now.SpotInstanceRequests[0].Status.Code == "instance-terminated-no-capacity", err)
}

func (x *story) pages() {
	for range 4 {
		_, err := x.start(ec2.RunInstancesInput{})
		x.good("run", err)
	}
	p := ec2.NewDescribeInstancesPaginator(x.c, &ec2.DescribeInstancesInput{MaxResults: aws.Int32(5)})
	n, pages := 0, 0
	for p.HasMorePages() {
		r, err := p.NextPage(x.ctx)
		x.good("a page", err)
		n += len(r.Reservations)
		pages++
	}
	x.check("pages", n == len(x.s.Instances(nil)) && pages == 2, fmt.Sprint(n, " in ", pages))
}

func (x *story) end() {
	r, err := x.c.TerminateInstances(x.ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{x.id}})
	x.check("terminate", err == nil && r.TerminatingInstances[0].CurrentState.Name == "shutting-down", err)
	x.good("wait until it is gone", ec2.NewInstanceTerminatedWaiter(x.c).Wait(x.ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{x.id}}, time.Minute))
	_, err = x.c.TerminateInstances(x.ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{"i-0123456789abcdef0"}})
	x.refused("terminate what is not there", err, "InvalidInstanceID.NotFound")
	for _, i := range x.s.Alive(nil) {
		_, err := x.c.TerminateInstances(x.ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{i.ID}})
		x.good("terminate", err)
	}
	time.Sleep(20 * time.Second) // of the bubble's clock
	x.check("the volumes went with the instances", x.s.Volumes() == 0, x.s.Volumes())
	_, err = x.c.DeleteKeyPair(x.ctx, &ec2.DeleteKeyPairInput{KeyName: &x.key})
	x.good("delete the key pair", err)
	_, err = x.c.DeleteSecurityGroup(x.ctx, &ec2.DeleteSecurityGroupInput{GroupId: &x.group})
	x.good("delete the group", err)
	time.Sleep(2 * time.Hour)
	_, err = x.c.DescribeInstances(x.ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{x.id}})
	x.refused("an instance that ended long ago", err, "InvalidInstanceID.NotFound")
}
