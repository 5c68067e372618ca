package ec2test

import (
	"encoding/base64"
	"net/http"
	"regexp"
	"slices"
	"time"
)

const (
	rootDevice  = "/dev/xvda"
	maxUserData = 16384 // bytes
)

var (
	imageID  = regexp.MustCompile(`^ami-[0-9a-f]+$`)
	typeName = regexp.MustCompile(`^[a-z][a-z0-9-]*\.(nano|micro|small|medium|large|([0-9]*)xlarge|metal(-.*)?)$`)
)

func (s *Server) runInstances(f form) ([]node, error) {
	token := f.get("ClientToken")
	if s.o.NoTokens {
		token = ""
	}
	asked := f.asked()
	if a := s.tokens[token]; token != "" && a != nil {
		if a.asked != asked {
			return nil, refuse("IdempotentParameterMismatch", "The client token you have provided is associated with a request with different parameters.")
		}
		return a.nodes, nil
	}
	if len(token) > 64 {
		return nil, refuse("InvalidParameterValue", "The client token may have 64 characters.")
	}
	least, err := f.number("MinCount", 0)
	if err != nil {
		return nil, err
	}
	count, err := f.number("MaxCount", 0)
	if err != nil {
		return nil, err
	}
	if least < 1 || count < least {
		return nil, refuse("MissingParameter", "The request must contain the parameters MinCount and MaxCount")
	}
	spot, err := s.wantsSpot(f)
	if err != nil {
		return nil, err
	}
	l, err := s.plan(f)
	if err != nil {
		return nil, err
	}
	if spot {
		if err := s.checkPrice(l, f.get("InstanceMarketOptions.SpotOptions.MaxPrice")); err != nil {
			return nil, err
		}
	}
	if f.flag("DryRun") {
		return nil, errDryRun
	}
	var made []*instance
	for range count {
		i := s.launch(l)
		if spot {
			r := s.addSpot(&spotRequest{price: f.get("InstanceMarketOptions.SpotOptions.MaxPrice"), plan: l, tags: tagsFor(f, "spot-instances-request")})
			r.fulfil(i)
		}
		made = append(made, i)
	}
	nodes := pending(reservation(made))
	if token != "" {
		s.tokens[token] = &answer{asked, nodes}
	}
	return nodes, nil
}

// pending is a reservation as the answer to a request has it: nothing runs yet, however fast
// it boots.
func pending(nodes []node) []node {
	all := slices.Clone(nodes)
	for n := range all {
		switch {
		case all[n].name == "instanceState":
			all[n] = stateNode("instanceState", "pending")
		case all[n].name == "ipAddress" || all[n].name == "dnsName":
			all[n].text = ""
		default:
			all[n].kids = pending(all[n].kids)
		}
	}
	return all
}

func (s *Server) wantsSpot(f form) (bool, error) {
	switch kind := f.get("InstanceMarketOptions.MarketType"); kind {
	case "":
		return false, nil
	case "spot":
		return true, nil
	default:
		return false, refuse("InvalidParameterValue", "Invalid value '%s' for MarketType.", kind)
	}
}

// plan is what an instance is started with, checked.
type plan struct {
	f      form
	image  *Image
	subnet *subnet
	groups []*group
	data   []byte
	tags   map[string]string
}

func (s *Server) plan(f form) (*plan, error) {
	p := &plan{f: f, image: s.images[f.get("ImageId")]}
	var err error
	switch id := f.get("ImageId"); {
	case id == "":
		return nil, refuse("MissingParameter", "The request must contain the parameter ImageId")
	case !imageID.MatchString(id):
		return nil, refuse("InvalidAMIID.Malformed", "Invalid id: \"%s\" (expecting \"ami-...\")", id)
	case p.image == nil || !p.image.visible():
		return nil, refuse("InvalidAMIID.NotFound", "The image id '[%s]' does not exist", id)
	case p.image.State != "available":
		return nil, refuse("InvalidAMIID.Unavailable", "The image id '[%s]' is no longer available", id)
	}
	if kind := f.get("InstanceType"); kind != "" && !typeName.MatchString(kind) {
		return nil, refuse("InvalidParameterValue", "Invalid value '%s' for InstanceType.", kind)
	}
	if name := f.get("KeyName"); name != "" && s.keys[name] == nil {
		return nil, refuse("InvalidKeyPair.NotFound", "The key pair '%s' does not exist", name)
	}
	if p.groups, err = s.planGroups(f); err != nil {
		return nil, err
	}
	if p.subnet, err = s.planSubnet(f); err != nil {
		return nil, err
	}
	if p.data, err = base64.StdEncoding.DecodeString(f.get("UserData")); err != nil {
		return nil, refuse("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data")
	}
	if len(p.data) > maxUserData {
		return nil, refuse("InvalidParameterValue", "User data is limited to %d bytes", maxUserData)
	}
	p.tags = tagsFor(f, "instance")
	return p, checkTags(f)
}

func (s *Server) planGroups(f form) (groups []*group, err error) {
	names, ids := f.list("SecurityGroup"), f.list("SecurityGroupId")
	if len(names) > 0 && f.get("SubnetId") != "" {
		return nil, refuse("InvalidParameterCombination", "The parameter groupName cannot be used with the parameter subnet")
	}
	for _, id := range ids {
		if s.groups[id] == nil {
			return nil, refuse("InvalidGroup.NotFound", "The security group '%s' does not exist", id)
		}
		groups = append(groups, s.groups[id])
	}
	if len(names)+len(ids) == 0 {
		names = []string{"default"}
	}
	for _, name := range names {
		g := s.groupNamed(name)
		if g == nil {
			return nil, refuse("InvalidGroup.NotFound", "The security group '%s' does not exist in default VPC '%s'", name, vpc)
		}
		groups = append(groups, g)
	}
	return groups, nil
}

func (s *Server) planSubnet(f form) (*subnet, error) {
	zone := f.get("Placement.AvailabilityZone")
	if id := f.get("SubnetId"); id != "" {
		n := s.subnets[id]
		if n == nil {
			return nil, refuse("InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", id)
		}
		if zone != "" && zone != n.zone {
			return nil, refuse("InvalidParameterValue", "The availability zone '%s' is not that of the subnet, which is '%s'", zone, n.zone)
		}
		return n, nil
	}
	for _, n := range sorted(s.subnets) {
		if zone == "" || zone == n.zone {
			return n, nil
		}
	}
	return nil, refuse("InvalidParameterValue", "Invalid availability zone: [%s]", zone)
}

// launch starts an instance.
func (s *Server) launch(p *plan) *instance {
	i := &instance{s: s, launched: time.Now(), groups: p.groups, Instance: Instance{
		ID: s.id("i"), ImageID: p.image.ID, Type: p.f.get("InstanceType"), KeyName: p.f.get("KeyName"), SubnetID: p.subnet.id, Zone: p.subnet.zone,
		Profile: p.f.get("IamInstanceProfile.Name"), ClientToken: p.f.get("ClientToken"), UserData: string(p.data), Tags: p.tags,
	}}
	if i.Type == "" {
		i.Type = "m1.small"
	}
	for _, g := range p.groups {
		i.Groups = append(i.Groups, g.id)
	}
	if len(s.doomed) > 0 {
		i.doom, s.doomed = &s.doomed[0], s.doomed[1:]
	}
	s.instances[i.ID] = i
	s.furnishVolumes(i, p.f)
	return i
}

func (s *Server) describeInstanceTypes(f form) ([]node, error) {
	types := f.list("InstanceType")
	for _, t := range types {
		if !typeName.MatchString(t) {
			return nil, &apiError{http.StatusBadRequest, "InvalidInstanceType", "The following supplied instance types do not exist: [" + t + "]"}
		}
	}
	return []node{items("instanceTypeSet", types, func(t string) []node {
		return []node{leaf("instanceType", t), leaf("currentGeneration", "true"), tree("vCpuInfo", leaf("defaultVCpus", "2")), tree("memoryInfo", leaf("sizeInMiB", "8192"))}
	})}, nil
}
