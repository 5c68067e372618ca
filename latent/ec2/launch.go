package ec2

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"buildstar/latent"
)

// Start starts an instance (docs/requirements.md A10, B4). It waits until the instance runs only
// if there is something to be done then.
func (b *backend) Start(ctx context.Context, in latent.Launch) (latent.Started, error) {
	b.unseen(in.Attempt, 0)
	w, err := b.params.read(in.Arguments)
	if err != nil {
		return latent.Started{}, latent.Cannotf("%w", err)
	}
	api, err := b.client(ctx)
	if err != nil {
		return latent.Started{}, err
	}
	ask, err := b.request(ctx, api, w, in)
	if err != nil {
		return latent.Started{}, err
	}
	out, err := api.RunInstances(ctx, ask)
	if !definite(err) {
		b.unseen(in.Attempt, b.lag())
	}
	if err == nil && len(out.Instances) == 0 {
		err = errors.New("the answer has no instance")
	}
	if err != nil {
		return latent.Started{}, b.refused(w, ask, err)
	}
	i := &out.Instances[0]
	id := orZero(i.InstanceId)
	in.Log(fmt.Sprintf("instance %s: %s of %s\n", id, w.kind, *ask.ImageId))
	if err := b.equip(ctx, api, i, in); err != nil {
		return latent.Started{}, err
	}
	return latent.Started{Handle: id, Info: []string{id, *ask.ImageId, w.kind}}, nil
}

// refused says why there is no instance, and whose fault that is: a build whose properties
// name an image or a type that does not exist cannot have one.
func (b *backend) refused(w wanted, ask *ec2.RunInstancesInput, err error) error {
	what := fmt.Sprintf("run a %s of %s", w.kind, *ask.ImageId)
	if m := ask.InstanceMarketOptions; m != nil {
		what = fmt.Sprintf("run a %s of %s as a spot instance for $%s an hour", w.kind, *ask.ImageId, *m.SpotOptions.MaxPrice)
	}
	_, plainAMI := b.params.AMI.Plain()
	_, plainKind := b.params.InstanceType.Plain()
	switch code(err) {
	case "InvalidAMIID.NotFound", "InvalidAMIID.Malformed", "InvalidAMIID.Unavailable":
		if !plainAMI {
			return latent.Cannotf("%w", failed(what, err))
		}
	case "InvalidParameterValue", "InvalidInstanceType":
		if !plainKind {
			return latent.Cannotf("%w", failed(what, err))
		}
	}
	return failed(what, err)
}

// zone is the zone that placement says; "" is any.
func (b *backend) zone() string {
	if b.params.Placement == "" {
		return ""
	}
	return b.region + b.params.Placement
}

// request makes the request for an instance, and what it needs that is not there yet.
func (b *backend) request(ctx context.Context, api *client, w wanted, in latent.Launch) (*ec2.RunInstancesInput, error) {
	p := b.params
	ask := &ec2.RunInstancesInput{
		MinCount: pointer[int32](1), MaxCount: pointer[int32](1), InstanceType: types.InstanceType(w.kind),
		ClientToken: pointer(b.env.Master + "-" + strconv.FormatInt(in.Attempt, 10)), TagSpecifications: b.tags(w, in.Ref), KeyName: p.KeypairName,
	}
	var err error
	if ask.ImageId, err = b.image(ctx, api, w, in.Log); err != nil {
		return nil, err
	}
	if ask.BlockDeviceMappings, err = p.BlockDeviceMap.mappings(); err != nil {
		return nil, fmt.Errorf("block_device_map: %w", err)
	}
	data, err := tell(ctx, w.data, in, b.env.Secret)
	if err != nil {
		return nil, fmt.Errorf("user_data: %w", err)
	}
	if data != "" {
		ask.UserData = pointer(base64.StdEncoding.EncodeToString([]byte(data)))
	}
	if z := b.zone(); z != "" {
		ask.Placement = &types.Placement{AvailabilityZone: &z}
	}
	if p.SubnetID != "" {
		ask.SubnetId = &p.SubnetID
	}
	if p.InstanceProfileName != "" {
		ask.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: &p.InstanceProfileName}
	}
	if err := b.provideKeyPair(ctx, api, in.Log); err != nil {
		return nil, err
	}
	if ask.SecurityGroupIds, err = b.provideGroups(ctx, api, in.Log); err != nil {
		return nil, err
	}
	if !p.SpotInstance {
		ask.InstanceInitiatedShutdownBehavior = types.ShutdownBehaviorTerminate // one that stops itself would cost, and be of no use
		return ask, nil
	}
	price, err := b.bid(ctx, api, w.kind, b.zone(), in.Log)
	if err != nil {
		return nil, err
	}
	ask.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot, SpotOptions: &types.SpotMarketOptions{
		MaxPrice: pointer(dollars(price)), SpotInstanceType: types.SpotInstanceTypeOneTime, InstanceInterruptionBehavior: types.InstanceInterruptionBehaviorTerminate,
	}}
	return ask, nil
}

func (b *backend) image(ctx context.Context, api *client, w wanted, log func(string)) (*string, error) {
	if w.ami != "" {
		return &w.ami, nil
	}
	c, err := b.choose(ctx, api)
	if err != nil {
		return nil, err
	}
	log(fmt.Sprintf("image %s at %s\n", c.id, c.location))
	return &c.id, nil
}

// tags are on everything that comes with an instance, from the beginning.
func (b *backend) tags(w wanted, r latent.Ref) (specs []types.TagSpecification) {
	all := maps.Clone(w.tags)
	if all == nil {
		all = map[string]string{}
	}
	all[tagMaster], all[tagWorker], all[tagAttempt] = b.env.Master, r.Worker, strconv.FormatInt(r.Attempt, 10)
	var tags []types.Tag
	for _, k := range slices.Sorted(maps.Keys(all)) {
		tags = append(tags, types.Tag{Key: &k, Value: pointer(all[k])})
	}
	kinds := []types.ResourceType{types.ResourceTypeInstance, types.ResourceTypeVolume}
	if b.params.SpotInstance {
		kinds = append(kinds, types.ResourceTypeSpotInstancesRequest)
	}
	for _, kind := range kinds {
		specs = append(specs, types.TagSpecification{ResourceType: kind, Tags: tags})
	}
	return specs
}

// provideKeyPair makes the key pair if it is not there.
func (b *backend) provideKeyPair(ctx context.Context, api *client, log func(string)) error {
	name := *b.params.KeypairName
	_, err := api.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{KeyNames: []string{name}})
	if code(err) != "InvalidKeyPair.NotFound" {
		return failed("look for key pair "+name, err)
	}
	made, err := api.CreateKeyPair(ctx, &ec2.CreateKeyPairInput{KeyName: &name})
	if code(err) == "InvalidKeyPair.Duplicate" {
		return nil // another worker was faster
	}
	if err != nil {
		return failed("make key pair "+name, err)
	}
	path, err := b.saveKey(name, orZero(made.KeyMaterial))
	if err != nil {
		return fmt.Errorf("write the private key of key pair %s: %w", name, err)
	}
	log(fmt.Sprintf("made key pair %s; its private key is in %s\n", name, path))
	return nil
}

// provideGroups returns the ids of the security groups; the one with a name is made if it is not
// there.
func (b *backend) provideGroups(ctx context.Context, api *client, log func(string)) ([]string, error) {
	ids := slices.Clone(b.params.SecurityGroupIDs)
	name := orZero(b.params.SecurityName)
	if name == "" {
		return ids, nil
	}
	look := &ec2.DescribeSecurityGroupsInput{GroupNames: []string{name}}
	found, err := api.DescribeSecurityGroups(ctx, look)
	if code(err) == "InvalidGroup.NotFound" {
		made, err := api.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{GroupName: &name, Description: pointer("workers of a continuous-integration master")})
		if err == nil {
			log(fmt.Sprintf("made security group %s\n", name))
			return append(ids, orZero(made.GroupId)), nil
		}
		if code(err) != "InvalidGroup.Duplicate" {
			return nil, failed("make security group "+name, err)
		}
		found, err = api.DescribeSecurityGroups(ctx, look) // another worker was faster
		if err != nil {
			return nil, failed("look for security group "+name, err)
		}
	} else if err != nil {
		return nil, failed("look for security group "+name, err)
	}
	if len(found.SecurityGroups) == 0 {
		return nil, fmt.Errorf("look for security group %s: there is none", name)
	}
	return append(ids, orZero(found.SecurityGroups[0].GroupId)), nil
}
