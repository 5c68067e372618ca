package ec2

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"buildstar/latent"
)

// The tags of an instance.
const (
	tagMaster  = "buildstar.master"
	tagWorker  = "buildstar.worker"
	tagAttempt = "buildstar.attempt"
)

// bench is what tests change.
type bench struct {
	transport http.RoundTripper // nil: the SDK's own
	tick      time.Duration     // 0: one second
}

// backend makes the instances of one worker.
type backend struct {
	params *Params
	env    latent.Env

	mu     sync.Mutex
	api    *client // nil: not made yet
	region string  // of api
	// until is, by attempt, how long an instance may still turn up that nothing shows: lists
	// lag behind what was made. An attempt that is not there is one of an earlier master.
	until map[int64]time.Time
}

var (
	_ latent.Checker = (*backend)(nil)
	_ latent.Lister  = (*backend)(nil)
	_ latent.Doctor  = (*backend)(nil)
)

// Open returns the backend.
func (p *Params) Open(e latent.Env) (latent.Backend, error) {
	return &backend{params: p, env: e, until: map[int64]time.Time{}}, nil
}

// tick is the shortest time between two looks at the same thing.
func (b *backend) tick() time.Duration {
	if t := b.params.test.tick; t != 0 {
		return t
	}
	return time.Second
}

// lag is how long an instance may be without being listed.
func (b *backend) lag() time.Duration { return 15 * b.tick() }

// unseen notes how long an instance of an attempt may turn up from now on.
func (b *backend) unseen(attempt int64, d time.Duration) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := time.Now().Add(d)
	b.until[attempt] = t
	return t
}

// settled returns from when on an instance that is not listed does not exist.
func (b *backend) settled(attempt int64) time.Time {
	b.mu.Lock()
	t, ok := b.until[attempt]
	b.mu.Unlock()
	if ok {
		return t
	}
	return b.unseen(attempt, b.lag())
}

// pause waits for d, and reports why it could not.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tagged are the filters for what an attempt made.
func (b *backend) tagged(attempt int64) []types.Filter {
	return []types.Filter{equals("tag:"+tagMaster, b.env.Master), equals("tag:"+tagAttempt, strconv.FormatInt(attempt, 10))}
}

// list returns the instances that filters or ids select; one that is not there is none.
func list(ctx context.Context, api *client, in *ec2.DescribeInstancesInput) (all []types.Instance, err error) {
	for more := true; more; more = orZero(in.NextToken) != "" {
		page, err := api.DescribeInstances(ctx, in)
		if code(err) == "InvalidInstanceID.NotFound" {
			return nil, nil
		}
		if err != nil {
			return nil, failed("list instances", err)
		}
		in.NextToken = page.NextToken
		for _, r := range page.Reservations {
			all = append(all, r.Instances...)
		}
	}
	return all, nil
}

func one(ctx context.Context, api *client, id string) (found *types.Instance, err error) {
	all, err := list(ctx, api, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

// find returns the instances of an attempt. There is more than one only if the provider knows
// no client tokens.
func (b *backend) find(ctx context.Context, api *client, in latent.Ref) (all []types.Instance, err error) {
	if in.Attempt != 0 {
		if all, err = list(ctx, api, &ec2.DescribeInstancesInput{Filters: b.tagged(in.Attempt)}); err != nil {
			return nil, err
		}
	}
	for _, i := range all {
		if orZero(i.InstanceId) == in.Handle {
			return all, nil
		}
	}
	if in.Handle == "" {
		return all, nil
	}
	i, err := one(ctx, api, in.Handle)
	if i != nil {
		all = append(all, *i)
	}
	return all, err
}

// state is that of an instance, and whether its end has begun, or is over.
func state(i *types.Instance) (name types.InstanceStateName, ending, gone bool) {
	if i.State != nil {
		name = i.State.Name
	}
	gone = name == types.InstanceStateNameTerminated
	return name, gone || name == types.InstanceStateNameShuttingDown, gone
}

// goodbye is how long Stop waits for an instance that is shutting down: that cannot be undone
// and costs nothing, and some take very long.
const goodbye = 90 // ticks

// Stop ends the instances of an attempt (docs/requirements.md A9.11, B4).
func (b *backend) Stop(ctx context.Context, in latent.Ref, fast bool) error {
	api, err := b.client(ctx)
	if err != nil {
		return err
	}
	settled := b.settled(in.Attempt)
	patience := time.Now().Add(goodbye * b.tick())
	for wait := b.tick(); ; wait = min(2*wait, 5*b.tick()) {
		found, err := b.find(ctx, api, in)
		if err != nil {
			return err
		}
		ending, gone, err := b.end(ctx, api, found)
		switch {
		case err != nil:
			return err
		case len(found) == 0 && !time.Now().Before(settled):
			return nil
		case len(found) > 0 && (gone || ending && (fast || time.Now().After(patience))):
			b.unseen(in.Attempt, 0)
			return nil
		}
		if err := pause(ctx, wait); err != nil {
			return fmt.Errorf("wait for the end of the instance: %w", err)
		}
	}
}

// end begins the end of instances, and reports whether that of all has begun, or is over.
func (b *backend) end(ctx context.Context, api *client, found []types.Instance) (ending, gone bool, err error) {
	gone = true
	var ids []string
	for _, i := range found {
		_, dies, dead := state(&i)
		gone = gone && dead
		if !dies {
			ids = append(ids, orZero(i.InstanceId))
		}
	}
	if len(ids) == 0 {
		return true, gone, nil
	}
	if b.params.ElasticIP != "" {
		if err := disassociate(ctx, api, ids); err != nil {
			return false, false, err
		}
	}
	out, err := api.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids})
	if code(err) == "InvalidInstanceID.NotFound" {
		return false, false, nil // look again: lists and calls lag behind each other
	}
	if err != nil {
		return false, false, failed("terminate instance", err)
	}
	return len(out.TerminatingInstances) == len(ids), false, nil
}

// Check reports an instance that ended, or whose status checks fail (docs/requirements.md
// A9.18). That the provider is throttling, or away, says nothing about the instance.
func (b *backend) Check(ctx context.Context, in latent.Ref) (good bool, message string, err error) {
	if good, message, err = b.look(ctx, in); err != nil && !definite(err) {
		return true, err.Error(), nil
	}
	return good, message, err
}

func (b *backend) look(ctx context.Context, in latent.Ref) (good bool, message string, err error) {
	api, err := b.client(ctx)
	if err != nil || in.Handle == "" {
		return err == nil, "", err
	}
	i, err := one(ctx, api, in.Handle)
	if err != nil {
		return false, "", err
	}
	if i == nil {
		if time.Now().Before(b.settled(in.Attempt)) {
			return true, "", nil
		}
		return false, fmt.Sprintf("instance %s is gone", in.Handle), nil
	}
	switch name, _, _ := state(i); name {
	case types.InstanceStateNamePending:
		return true, "", nil
	case types.InstanceStateNameRunning:
		return b.impaired(ctx, api, in.Handle)
	}
	return false, why(ctx, api, i), nil
}

// why says what became of an instance that does not run.
func why(ctx context.Context, api *client, i *types.Instance) string {
	name, _, _ := state(i)
	text := fmt.Sprintf("instance %s is %s", orZero(i.InstanceId), name)
	if r := i.StateReason; r != nil && orZero(r.Message) != "" {
		text += ": " + *r.Message
	} else if t := orZero(i.StateTransitionReason); t != "" {
		text += ": " + t
	}
	if id := orZero(i.SpotInstanceRequestId); id != "" {
		text += spotStatus(ctx, api, id)
	}
	return text
}

// impaired looks at the status checks of an instance that runs.
func (b *backend) impaired(ctx context.Context, api *client, id string) (good bool, message string, err error) {
	out, err := api.DescribeInstanceStatus(ctx, &ec2.DescribeInstanceStatusInput{InstanceIds: []string{id}})
	if code(err) == "InvalidInstanceID.NotFound" {
		return true, "", nil
	}
	if err != nil {
		return false, "", failed("look at the status checks", err)
	}
	for _, s := range out.InstanceStatuses {
		for name, check := range map[string]*types.InstanceStatusSummary{"system": s.SystemStatus, "instance": s.InstanceStatus} {
			if check != nil && check.Status == types.SummaryStatusImpaired {
				return false, fmt.Sprintf("instance %s fails its %s status check", id, name), nil
			}
		}
	}
	return true, "", nil
}

// List returns the instances of this master in the account and region of the worker.
func (b *backend) List(ctx context.Context) ([]latent.Ref, error) {
	api, err := b.client(ctx)
	if err != nil {
		return nil, err
	}
	found, err := list(ctx, api, &ec2.DescribeInstancesInput{Filters: []types.Filter{
		equals("tag:"+tagMaster, b.env.Master), equals("instance-state-name", "pending", "running", "stopping", "stopped"),
	}})
	if err != nil {
		return nil, err
	}
	var refs []latent.Ref
	for _, i := range found {
		r := latent.Ref{Handle: orZero(i.InstanceId)}
		for _, t := range i.Tags {
			switch orZero(t.Key) {
			case tagWorker:
				r.Worker = orZero(t.Value)
			case tagAttempt:
				r.Attempt, _ = strconv.ParseInt(orZero(t.Value), 10, 64) // 0 is unknown
			}
		}
		refs = append(refs, r)
	}
	return refs, nil
}
