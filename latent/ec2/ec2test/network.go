package ec2test

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"slices"
)

const vpc = "vpc-00000000000000001"

type keyPair struct{ id, name, fingerprint string }

type group struct {
	id, name, description string
	rules                 []form
}

type subnet struct{ id, zone string }

// An address is an elastic one.
type address struct {
	id, ip, association string
	instance            *instance
	tags                map[string]string
}

// furnish makes what there is from the beginning.
func (s *Server) furnish() {
	for i, letter := range "abc" {
		n := &subnet{fmt.Sprintf("subnet-%017x", i+1), s.o.Region + string(letter)}
		s.subnets[n.id] = n
	}
	s.addGroup("default", "default VPC security group")
	for _, name := range []string{"amzn2-ami-hvm-2.0.20250101.0-x86_64-gp2", "al2023-ami-2023.6.20250107.0-kernel-6.1-x86_64"} {
		s.addImage(Image{Name: name, Owner: amazon, Location: "amazon/" + name})
	}
}

func (s *Server) addGroup(name, description string) *group {
	g := &group{id: s.id("sg"), name: name, description: description}
	s.groups[g.id] = g
	return g
}

func (s *Server) createKeyPair(f form) ([]node, error) {
	name := f.get("KeyName")
	if s.keys[name] != nil {
		return nil, refuse("InvalidKeyPair.Duplicate", "The keypair already exists")
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(public)
	k := &keyPair{s.id("key"), name, base64.StdEncoding.EncodeToString(sum[:])}
	s.keys[name] = k
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return append(k.nodes(), leaf("keyMaterial", text)), nil
}

func (k *keyPair) nodes() []node {
	return []node{leaf("keyPairId", k.id), leaf("keyName", k.name), leaf("keyFingerprint", k.fingerprint)}
}

func (s *Server) describeKeyPairs(f form) ([]node, error) {
	err := f.known("KeyName", "InvalidKeyPair.NotFound", "The key pair '%s' does not exist", func(name string) bool { return s.keys[name] != nil })
	names := f.list("KeyName")
	all := slices.DeleteFunc(sorted(s.keys), func(k *keyPair) bool { return len(names) > 0 && !slices.Contains(names, k.name) })
	return []node{items("keySet", all, (*keyPair).nodes)}, err
}

func (s *Server) deleteKeyPair(f form) ([]node, error) {
	delete(s.keys, f.get("KeyName"))
	return done(true), nil
}

func (s *Server) groupNamed(name string) *group {
	for _, g := range sorted(s.groups) {
		if g.name == name {
			return g
		}
	}
	return nil
}

func (s *Server) createSecurityGroup(f form) ([]node, error) {
	switch name := f.get("GroupName"); {
	case name == "" || f.get("GroupDescription") == "":
		return nil, refuse("MissingParameter", "The request must contain the parameters GroupName and GroupDescription")
	case s.groupNamed(name) != nil:
		return nil, refuse("InvalidGroup.Duplicate", "The security group '%s' already exists for VPC '%s'", name, vpc)
	}
	return append(done(true), leaf("groupId", s.addGroup(f.get("GroupName"), f.get("GroupDescription")).id)), nil
}

func (s *Server) authorizeSecurityGroupIngress(f form) ([]node, error) {
	g := s.groups[f.get("GroupId")]
	if g == nil {
		return nil, refuse("InvalidGroup.NotFound", "The security group '%s' does not exist", f.get("GroupId"))
	}
	g.rules = append(g.rules, f.parts("IpPermissions")...)
	return done(true), nil
}

func (s *Server) deleteSecurityGroup(f form) ([]node, error) {
	id := f.get("GroupId")
	if g := s.groupNamed(f.get("GroupName")); g != nil {
		id = g.id
	}
	if s.groups[id] == nil {
		return nil, refuse("InvalidGroup.NotFound", "The security group '%s' does not exist", cmp.Or(id, f.get("GroupName")))
	}
	for _, i := range s.instances {
		if i.state() != "terminated" && slices.Contains(i.groups, s.groups[id]) {
			return nil, refuse("DependencyViolation", "resource %s has a dependent object", id)
		}
	}
	delete(s.groups, id)
	return done(true), nil
}

func (g *group) nodes() []node {
	return []node{leaf("ownerId", account), leaf("groupId", g.id), leaf("groupName", g.name), leaf("groupDescription", g.description), leaf("vpcId", vpc)}
}

func (s *Server) describeSecurityGroups(f form) ([]node, error) {
	if err := f.known("GroupName", "InvalidGroup.NotFound", "The security group '%s' does not exist", func(name string) bool { return s.groupNamed(name) != nil }); err != nil {
		return nil, err
	}
	if err := f.known("GroupId", "InvalidGroup.NotFound", "The security group '%s' does not exist", func(id string) bool { return s.groups[id] != nil }); err != nil {
		return nil, err
	}
	names, ids := f.list("GroupName"), f.list("GroupId")
	var found []*group
	for _, g := range sorted(s.groups) {
		ok, err := f.match(attributes{"group-name": {g.name}, "group-id": {g.id}, "vpc-id": {vpc}, "description": {g.description}}.of(nil))
		if err != nil {
			return nil, err
		}
		if ok && (len(names) == 0 || slices.Contains(names, g.name)) && (len(ids) == 0 || slices.Contains(ids, g.id)) {
			found = append(found, g)
		}
	}
	return []node{items("securityGroupInfo", found, (*group).nodes)}, nil
}

func (s *Server) describeSubnets(f form) ([]node, error) {
	if err := f.known("SubnetId", "InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", func(id string) bool { return s.subnets[id] != nil }); err != nil {
		return nil, err
	}
	ids := f.list("SubnetId")
	all := slices.DeleteFunc(sorted(s.subnets), func(n *subnet) bool { return len(ids) > 0 && !slices.Contains(ids, n.id) })
	return []node{items("subnetSet", all, func(n *subnet) []node {
		return []node{leaf("subnetId", n.id), leaf("state", "available"), leaf("vpcId", vpc), leaf("availabilityZone", n.zone),
			leaf("defaultForAz", "true"), leaf("mapPublicIpOnLaunch", "true"), leaf("ownerId", account)}
	})}, nil
}

func (s *Server) allocateAddress(f form) ([]node, error) {
	a := &address{id: s.id("eipalloc"), ip: fmt.Sprintf("198.51.100.%d", len(s.addresses)+1), tags: tagsFor(f, "elastic-ip")}
	s.addresses[a.id] = a
	return []node{leaf("publicIp", a.ip), leaf("domain", "vpc"), leaf("allocationId", a.id)}, nil
}

func (s *Server) address(id string) (*address, error) {
	if a := s.addresses[id]; a != nil {
		return a, nil
	}
	return nil, refuse("InvalidAllocationID.NotFound", "The allocation ID '%s' does not exist", id)
}

func (s *Server) associateAddress(f form) ([]node, error) {
	a, err := s.address(f.get("AllocationId"))
	if err != nil {
		return nil, err
	}
	i, err := s.instance(f.get("InstanceId"))
	if err != nil {
		return nil, err
	}
	if i.state() != "running" {
		return nil, refuse("InvalidInstanceID", "The pending instance '%s' is not in a valid state for this operation.", i.ID)
	}
	if a.instance != nil && a.instance != i && f.get("AllowReassociation") == "false" {
		return nil, refuse("Resource.AlreadyAssociated", "resource %s is already associated with associate-id %s", a.id, a.association)
	}
	a.instance, a.association = i, s.id("eipassoc")
	return append(done(true), leaf("associationId", a.association)), nil
}

func (s *Server) disassociateAddress(f form) ([]node, error) {
	for _, a := range s.addresses {
		if a.association != "" && a.association == f.get("AssociationId") {
			a.instance, a.association = nil, ""
			return done(true), nil
		}
	}
	return nil, refuse("InvalidAssociationID.NotFound", "The association ID '%s' does not exist", f.get("AssociationId"))
}

func (s *Server) releaseAddress(f form) ([]node, error) {
	a, err := s.address(f.get("AllocationId"))
	if err != nil {
		return nil, err
	}
	if a.instance != nil {
		return nil, refuse("InvalidIPAddress.InUse", "The address %s is in use", a.ip)
	}
	delete(s.addresses, a.id)
	return done(true), nil
}

func (s *Server) describeAddresses(f form) ([]node, error) {
	byIP := func(ip string) bool {
		return slices.ContainsFunc(sorted(s.addresses), func(a *address) bool { return a.ip == ip })
	}
	if err := f.known("PublicIp", "InvalidAddress.NotFound", "Address '%s' not found.", byIP); err != nil {
		return nil, err
	}
	ips := f.list("PublicIp")
	var found []*address
	for _, a := range sorted(s.addresses) {
		ok, err := f.match(attributes{"public-ip": {a.ip}, "allocation-id": {a.id}, "association-id": {a.association}, "instance-id": {a.user()}}.of(a.tags))
		if err != nil {
			return nil, err
		}
		if ok && (len(ips) == 0 || slices.Contains(ips, a.ip)) {
			found = append(found, a)
		}
	}
	return []node{items("addressesSet", found, func(a *address) []node {
		return []node{leaf("publicIp", a.ip), leaf("allocationId", a.id), leaf("domain", "vpc"), leaf("instanceId", a.user()), leaf("associationId", a.association), tagSet(a.tags)}
	})}, nil
}

// user is the id of the instance that has the address.
func (a *address) user() string {
	if a.instance == nil {
		return ""
	}
	return a.instance.ID
}
