package ec2test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"
)

// Instance is an instance as the server knows it.
type Instance struct {
	ID, State, ImageID, Type, KeyName, SubnetID, Zone, Profile, ClientToken string
	Groups                                                                  []string // ids
	Tags                                                                    map[string]string
	UserData                                                                string // decoded
	PublicIP                                                                string
	Devices                                                                 map[string]string // ids of volumes by device
	SpotRequest, MaxPrice                                                   string            // "": not a spot instance
}

type instance struct {
	Instance
	s         *Server
	groups    []*group
	launched  time.Time
	doom      *reason
	ended     time.Time // zero: not yet
	why       reason
	stopped   time.Time
	impaired  bool
	announced bool // to OnRun
	reported  bool // to OnEnd
}

// Instances returns the instances that have these tags, terminated ones too for an hour.
func (s *Server) Instances(tags map[string]string) (found []Instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance()
	for _, i := range sorted(s.instances) {
		if subset(tags, i.Tags) {
			found = append(found, i.snapshot())
		}
	}
	return found
}

// Alive is like Instances, for those that are not terminated.
func (s *Server) Alive(tags map[string]string) []Instance {
	return slices.DeleteFunc(s.Instances(tags), func(i Instance) bool { return i.State == "terminated" })
}

func subset(some, all map[string]string) bool {
	for k, v := range some {
		if w, ok := all[k]; !ok || w != v {
			return false
		}
	}
	return true
}

func (i *instance) snapshot() Instance {
	c := i.Instance
	c.State, c.Tags, c.Devices, c.PublicIP = i.state(), maps.Clone(i.Tags), map[string]string{}, i.publicIP()
	for _, v := range i.s.volumes {
		if v.instance == i {
			c.Devices[v.device] = v.id
		}
	}
	return c
}

func (i *instance) publicIP() string {
	for _, a := range i.s.addresses {
		if a.instance == i {
			return a.ip
		}
	}
	if i.state() == "running" {
		return i.address("203.0.113")
	}
	return ""
}

func (i *instance) address(net string) string {
	var n int
	_, _ = fmt.Sscanf(i.ID, "i-%x", &n)
	return fmt.Sprintf("%s.%d", net, n%250+1)
}

// codes are the numbers of the states.
var codes = map[string]string{"pending": "0", "running": "16", "shutting-down": "32", "terminated": "48", "stopping": "64", "stopped": "80"}

func (i *instance) state() string {
	switch {
	case !i.ended.IsZero() && since(i.ended, i.s.o.Shutdown):
		return "terminated"
	case !i.ended.IsZero():
		return "shutting-down"
	case !i.stopped.IsZero() && since(i.stopped, i.s.o.Shutdown):
		return "stopped"
	case !i.stopped.IsZero():
		return "stopping"
	case since(i.launched, i.s.o.Boot):
		return "running"
	}
	return "pending"
}

func (i *instance) end(why reason) {
	if i.ended.IsZero() {
		i.ended, i.why = time.Now(), why
	}
}

// advance does what time brought about.
func (s *Server) advance() {
	for id, i := range s.instances {
		if i.doom != nil && since(i.launched, s.o.Boot) {
			i.end(*i.doom)
		}
		if i.state() != "terminated" {
			continue
		}
		for _, a := range s.addresses {
			if a.instance == i {
				a.instance, a.association = nil, ""
			}
		}
		s.release(i)
		if since(i.ended, s.o.Shutdown+time.Hour) {
			delete(s.instances, id)
		}
	}
	for _, r := range s.spots {
		r.advance()
	}
}

// tell tells the test what came and went, in order.
func (s *Server) tell() {
	s.hooks.Lock()
	defer s.hooks.Unlock()
	for {
		s.mu.Lock()
		call := s.news()
		s.mu.Unlock()
		if call == nil {
			return
		}
		call()
	}
}

func (s *Server) news() (call func()) {
	for _, i := range sorted(s.instances) {
		hook := s.o.OnRun
		switch {
		case !i.announced:
			i.announced = true
		case !i.reported && !i.ended.IsZero():
			i.reported = true
			hook = s.o.OnEnd
		default:
			continue
		}
		if c := i.snapshot(); hook != nil {
			return func() { hook(c) }
		}
	}
	return nil
}

var instanceID = regexp.MustCompile(`^i-[0-9a-f]+$`)

// instance returns an instance that can be seen.
func (s *Server) instance(id string) (*instance, error) {
	if !instanceID.MatchString(id) {
		return nil, refuse("InvalidInstanceID.Malformed", "Invalid id: \"%s\"", id)
	}
	if i := s.instances[id]; i != nil && since(i.launched, s.o.Lag) {
		return i, nil
	}
	return nil, refuse("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
}

// named returns the instances of a request; none if it names none.
func (s *Server) named(f form) (all []*instance, err error) {
	var missing []string
	for _, id := range f.list("InstanceId") {
		i, err := s.instance(id)
		if err != nil && len(f.list("InstanceId")) == 1 {
			return nil, err
		}
		if err != nil {
			missing = append(missing, id)
			continue
		}
		all = append(all, i)
	}
	if len(missing) > 0 {
		return nil, refuse("InvalidInstanceID.NotFound", "The instance IDs %s do not exist", plural(missing))
	}
	return all, nil
}

func (i *instance) attributes() attributes {
	lifecycle := "normal"
	if i.SpotRequest != "" {
		lifecycle = "spot"
	}
	return attributes{
		"instance-id": {i.ID}, "instance-state-name": {i.state()}, "instance-state-code": {codes[i.state()]}, "client-token": {i.ClientToken},
		"image-id": {i.ImageID}, "instance-type": {i.Type}, "key-name": {i.KeyName}, "subnet-id": {i.SubnetID}, "vpc-id": {vpc},
		"availability-zone": {i.Zone}, "instance-lifecycle": {lifecycle}, "spot-instance-request-id": {i.SpotRequest}, "ip-address": {i.publicIP()},
		"private-ip-address": {i.address("10.0.0")}, "instance.group-id": i.Groups,
	}.of(i.Tags)
}

// select returns the instances that a request asks for.
func (s *Server) selected(f form) ([]*instance, error) {
	all, err := s.named(f)
	if err != nil {
		return nil, err
	}
	if len(f.list("InstanceId")) == 0 {
		all = sorted(s.instances)
	}
	var found []*instance
	for _, i := range all {
		ok, err := f.match(i.attributes())
		if err != nil {
			return nil, err
		}
		if ok && since(i.launched, s.o.Lag) {
			found = append(found, i)
		}
	}
	return found, nil
}

func (s *Server) describeInstances(f form) ([]node, error) {
	if f.get("MaxResults") != "" && len(f.list("InstanceId")) > 0 {
		return nil, refuse("InvalidParameterCombination", "The parameter instancesSet cannot be used with the parameter maxResults")
	}
	found, err := s.selected(f)
	if err != nil {
		return nil, err
	}
	found, more, err := page(f, found, 5)
	return append([]node{items("reservationSet", found, func(i *instance) []node { return reservation([]*instance{i}) })}, more...), err
}

func reservation(all []*instance) []node {
	return []node{leaf("reservationId", "r-"+all[0].ID[2:]), leaf("ownerId", account), items("instancesSet", all, (*instance).nodes)}
}

func stateNode(name, state string) node {
	return tree(name, leaf("code", codes[state]), leaf("name", state))
}

func (i *instance) nodes() []node {
	state := i.state()
	n := []node{
		leaf("instanceId", i.ID), leaf("imageId", i.ImageID), stateNode("instanceState", state), leaf("keyName", i.KeyName), leaf("amiLaunchIndex", "0"),
		leaf("instanceType", i.Type), leaf("launchTime", stamp(i.launched)), tree("placement", leaf("availabilityZone", i.Zone), leaf("tenancy", "default")),
		leaf("subnetId", i.SubnetID), leaf("vpcId", vpc), leaf("privateIpAddress", i.address("10.0.0")), leaf("ipAddress", i.publicIP()),
		leaf("architecture", "x86_64"), leaf("rootDeviceType", "ebs"), leaf("rootDeviceName", rootDevice), leaf("clientToken", i.ClientToken), tagSet(i.Tags),
		items("groupSet", i.groups, func(g *group) []node { return []node{leaf("groupId", g.id), leaf("groupName", g.name)} }),
		items("blockDeviceMapping", i.s.attached(i), (*volume).deviceNodes),
	}
	if ip := i.publicIP(); ip != "" {
		n = append(n, leaf("dnsName", "ec2-"+ip+".test"))
	}
	if i.Profile != "" {
		n = append(n, tree("iamInstanceProfile", leaf("arn", "arn:aws:iam::"+account+":instance-profile/"+i.Profile)))
	}
	if i.SpotRequest != "" {
		n = append(n, leaf("instanceLifecycle", "spot"), leaf("spotInstanceRequestId", i.SpotRequest))
	}
	if i.why.code != "" {
		n = append(n, leaf("reason", i.why.message), tree("stateReason", leaf("code", i.why.code), leaf("message", i.why.code+": "+i.why.message)))
	}
	return n
}

func (s *Server) describeInstanceStatus(f form) ([]node, error) {
	found, err := s.selected(f)
	if err != nil {
		return nil, err
	}
	if !f.flag("IncludeAllInstances") {
		found = slices.DeleteFunc(found, func(i *instance) bool { return i.state() != "running" })
	}
	return []node{items("instanceStatusSet", found, func(i *instance) []node {
		status, reach := "ok", "passed"
		switch {
		case i.state() != "running":
			status, reach = "not-applicable", ""
		case i.impaired:
			status, reach = "impaired", "failed"
		}
		checks := []node{leaf("status", status)}
		if reach != "" {
			checks = append(checks, tree("details", tree("item", leaf("name", "reachability"), leaf("status", reach))))
		}
		return []node{leaf("instanceId", i.ID), leaf("availabilityZone", i.Zone), stateNode("instanceState", i.state()),
			tree("instanceStatus", checks...), tree("systemStatus", checks...)}
	})}, nil
}

func (s *Server) describeInstanceAttribute(f form) ([]node, error) {
	i, err := s.instance(f.get("InstanceId"))
	if err != nil {
		return nil, err
	}
	if f.get("Attribute") != "userData" {
		return nil, refuse("InvalidParameterValue", "Value (%s) for parameter attribute is invalid.", f.get("Attribute"))
	}
	data := base64.StdEncoding.EncodeToString([]byte(i.UserData))
	return []node{leaf("instanceId", i.ID), tree("userData", leaf("value", data))}, nil
}

// change changes the states of the instances of a request.
func (s *Server) change(f form, do func(*instance) error) ([]node, error) {
	all, err := s.named(f)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, refuse("MissingParameter", "The request must contain the parameter InstanceId")
	}
	was := map[*instance]string{}
	for _, i := range all {
		was[i] = i.state()
		if err := do(i); err != nil {
			return nil, err
		}
	}
	return []node{items("instancesSet", all, func(i *instance) []node {
		now := i.state()
		if now == "terminated" && was[i] != "terminated" {
			now = "shutting-down"
		}
		return []node{leaf("instanceId", i.ID), stateNode("currentState", now), stateNode("previousState", was[i])}
	})}, nil
}

func (s *Server) terminateInstances(f form) ([]node, error) {
	return s.change(f, func(i *instance) error {
		i.end(reason{"Client.UserInitiatedShutdown", "User initiated shutdown"})
		return nil
	})
}

func incorrect(i *instance) error {
	return refuse("IncorrectInstanceState", "The instance '%s' is not in a state from which it can be changed.", i.ID)
}

func (s *Server) stopInstances(f form) ([]node, error) {
	return s.change(f, func(i *instance) error {
		switch i.state() {
		case "running", "stopping", "stopped":
			if i.stopped.IsZero() {
				i.stopped = time.Now()
			}
			return nil
		}
		return incorrect(i)
	})
}

func (s *Server) startInstances(f form) ([]node, error) {
	return s.change(f, func(i *instance) error {
		switch i.state() {
		case "stopped":
			i.stopped, i.launched = time.Time{}, time.Now()
			return nil
		case "running", "pending":
			return nil
		}
		return incorrect(i)
	})
}

func (s *Server) getConsoleOutput(f form) ([]node, error) {
	i, err := s.instance(f.get("InstanceId"))
	if err != nil {
		return nil, err
	}
	text := base64.StdEncoding.EncodeToString([]byte("ec2test booted " + i.ImageID + "\n"))
	return []node{leaf("instanceId", i.ID), leaf("timestamp", stamp(i.launched)), leaf("output", text)}, nil
}
