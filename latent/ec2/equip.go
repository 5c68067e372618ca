package ec2

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"buildstar/latent"
)

// equip gives an instance what it can have only once it runs: its address and its volumes.
func (b *backend) equip(ctx context.Context, api *client, i *types.Instance, in latent.Launch) error {
	if b.params.ElasticIP == "" && len(b.params.Volumes) == 0 {
		return nil
	}
	id := orZero(i.InstanceId)
	if err := b.awaitRunning(ctx, api, id, in.Attempt); err != nil {
		return err
	}
	if ip := b.params.ElasticIP; ip != "" {
		if err := associate(ctx, api, id, ip); err != nil {
			return err
		}
		in.Log(fmt.Sprintf("instance %s has address %s\n", id, ip))
	}
	for _, v := range b.params.Volumes {
		if err := b.attach(ctx, api, id, v); err != nil {
			return err
		}
		in.Log(fmt.Sprintf("instance %s has volume %s at %s\n", id, v.ID, v.Device))
	}
	return nil
}

// awaitRunning waits until an instance runs; ctx bounds it.
func (b *backend) awaitRunning(ctx context.Context, api *client, id string, attempt int64) error {
	for wait := b.tick(); ; wait = min(2*wait, 5*b.tick()) {
		if err := pause(ctx, wait); err != nil {
			return fmt.Errorf("wait until instance %s runs: %w", id, err)
		}
		i, err := one(ctx, api, id)
		if err != nil {
			return err
		}
		if i == nil {
			if !time.Now().Before(b.settled(attempt)) {
				return fmt.Errorf("instance %s is gone", id)
			}
			continue
		}
		switch name, _, _ := state(i); name {
		case types.InstanceStateNameRunning:
			return nil
		case types.InstanceStateNamePending:
		default:
			return errors.New(why(ctx, api, i))
		}
	}
}

// associate gives an instance an elastic address. One that another instance has is not taken
// from it.
func associate(ctx context.Context, api *client, id, ip string) error {
	a, err := address(ctx, api, ip)
	if err != nil {
		return err
	}
	_, err = api.AssociateAddress(ctx, &ec2.AssociateAddressInput{AllocationId: a.AllocationId, InstanceId: &id, AllowReassociation: pointer(false)})
	return failed(fmt.Sprintf("give instance %s address %s", id, ip), err)
}

func address(ctx context.Context, api *client, ip string) (*types.Address, error) {
	out, err := api.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{PublicIps: []string{ip}})
	if err != nil {
		return nil, failed("look for elastic address "+ip, err)
	}
	if len(out.Addresses) == 0 {
		return nil, fmt.Errorf("look for elastic address %s: the account has none like it in this region", ip)
	}
	return &out.Addresses[0], nil
}

// disassociate takes the elastic addresses of instances from them.
func disassociate(ctx context.Context, api *client, ids []string) error {
	out, err := api.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: []types.Filter{equals("instance-id", ids...)}})
	if err != nil {
		return failed("look for elastic addresses", err)
	}
	for _, a := range out.Addresses {
		_, err := api.DisassociateAddress(ctx, &ec2.DisassociateAddressInput{AssociationId: a.AssociationId})
		if err != nil && code(err) != "InvalidAssociationID.NotFound" {
			return failed("take address "+orZero(a.PublicIp), err)
		}
	}
	return nil
}

// detaching is how long a volume that another instance has is waited for: that of the worker
// before this one may not have let it go yet.
const detaching = 60 // ticks

func (b *backend) attach(ctx context.Context, api *client, id string, v volume) error {
	for range detaching {
		_, err := api.AttachVolume(ctx, &ec2.AttachVolumeInput{InstanceId: &id, VolumeId: &v.ID, Device: &v.Device})
		if c := code(err); c != "VolumeInUse" && c != "IncorrectState" {
			return failed("attach volume "+v.ID, err)
		}
		if stop := pause(ctx, b.tick()); stop != nil {
			return failed("attach volume "+v.ID, err)
		}
	}
	return fmt.Errorf("attach volume %s: another instance has it", v.ID)
}
