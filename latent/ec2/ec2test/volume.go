package ec2test

import (
	"slices"
	"time"
)

type volume struct {
	id, zone, kind string
	size           int
	made, joined   time.Time
	instance       *instance // nil: available
	device         string
	goesWith       bool // deleted when its instance is
	tags           map[string]string
}

// AddVolume makes a volume in a zone, as somebody did before the test, and returns its id.
func (s *Server) AddVolume(zone string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addVolume(&volume{zone: zone, size: 1, kind: "gp2"}).id
}

// Volumes returns how many volumes there are.
func (s *Server) Volumes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance()
	return len(s.volumes)
}

// AddAddress allocates an elastic address and returns it.
func (s *Server) AddAddress() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	nodes, _ := s.allocateAddress(form{}) // it cannot fail
	return nodes[0].text
}

func (s *Server) addVolume(v *volume) *volume {
	v.id, v.made = s.id("vol"), time.Now()
	s.volumes[v.id] = v
	return v
}

// furnishVolumes makes the disks that an instance starts with.
func (s *Server) furnishVolumes(i *instance, f form) {
	tags := tagsFor(f, "volume")
	disk := func(device string, ebs form) {
		size, err := ebs.number("VolumeSize", 8)
		if err != nil {
			size = 8
		}
		kind := ebs.get("VolumeType")
		if kind == "" {
			kind = "gp2"
		}
		s.addVolume(&volume{zone: i.Zone, size: size, kind: kind, instance: i, device: device, joined: time.Now(), goesWith: ebs.get("DeleteOnTermination") != "false", tags: tags})
	}
	root := form{}
	for _, b := range f.parts("BlockDeviceMapping") {
		ebs := b.part("Ebs")
		switch {
		case b.get("DeviceName") == rootDevice:
			root = ebs
		case len(ebs) > 0:
			disk(b.get("DeviceName"), ebs)
		}
	}
	disk(rootDevice, root)
}

func (s *Server) attached(i *instance) []*volume {
	return slices.DeleteFunc(sorted(s.volumes), func(v *volume) bool { return v.instance != i })
}

// release parts an instance that ended from its disks.
func (s *Server) release(i *instance) {
	for _, v := range s.attached(i) {
		if v.goesWith {
			delete(s.volumes, v.id)
		}
		v.instance, v.device = nil, ""
	}
}

func (v *volume) deviceNodes() []node {
	return []node{leaf("deviceName", v.device), tree("ebs", leaf("volumeId", v.id), leaf("status", "attached"), leaf("attachTime", stamp(v.joined)), leaf("deleteOnTermination", yesNo(v.goesWith)))}
}

func (v *volume) state() string {
	if v.instance == nil {
		return "available"
	}
	return "in-use"
}

func (v *volume) attachment(state string) []node {
	return []node{leaf("volumeId", v.id), leaf("instanceId", v.instance.ID), leaf("device", v.device), leaf("status", state), leaf("attachTime", stamp(v.joined))}
}

func (s *Server) volume(id string) (*volume, error) {
	if v := s.volumes[id]; v != nil {
		return v, nil
	}
	return nil, refuse("InvalidVolume.NotFound", "The volume '%s' does not exist.", id)
}

func (v *volume) nodes() []node {
	n := []node{leaf("volumeId", v.id), leaf("size", whole(v.size)), leaf("availabilityZone", v.zone), leaf("status", v.state()), leaf("createTime", stamp(v.made)), leaf("volumeType", v.kind), tagSet(v.tags)}
	if v.instance != nil {
		n = append(n, tree("attachmentSet", tree("item", v.attachment("attached")...)))
	}
	return n
}

func (s *Server) createVolume(f form) ([]node, error) {
	size, err := f.number("Size", 8)
	if err != nil {
		return nil, err
	}
	kind := f.get("VolumeType")
	if kind == "" {
		kind = "gp2"
	}
	return s.addVolume(&volume{zone: f.get("AvailabilityZone"), size: size, kind: kind, tags: tagsFor(f, "volume")}).nodes(), nil
}

func (s *Server) deleteVolume(f form) ([]node, error) {
	v, err := s.volume(f.get("VolumeId"))
	if err == nil && v.instance != nil {
		err = refuse("VolumeInUse", "Volume %s is currently attached to %s", v.id, v.instance.ID)
	}
	if err != nil {
		return nil, err
	}
	delete(s.volumes, v.id)
	return done(true), nil
}

func (s *Server) describeVolumes(f form) ([]node, error) {
	if err := f.known("VolumeId", "InvalidVolume.NotFound", "The volume '%s' does not exist.", func(id string) bool { return s.volumes[id] != nil }); err != nil {
		return nil, err
	}
	ids := f.list("VolumeId")
	var found []*volume
	for _, v := range sorted(s.volumes) {
		user := ""
		if v.instance != nil {
			user = v.instance.ID
		}
		ok, err := f.match(attributes{"volume-id": {v.id}, "status": {v.state()}, "availability-zone": {v.zone}, "attachment.instance-id": {user}}.of(v.tags))
		if err != nil {
			return nil, err
		}
		if ok && (len(ids) == 0 || slices.Contains(ids, v.id)) {
			found = append(found, v)
		}
	}
	return []node{items("volumeSet", found, (*volume).nodes)}, nil
}

func (s *Server) attachVolume(f form) ([]node, error) {
	v, err := s.volume(f.get("VolumeId"))
	if err != nil {
		return nil, err
	}
	i, err := s.instance(f.get("InstanceId"))
	if err != nil {
		return nil, err
	}
	device := f.get("Device")
	switch {
	case device == "":
		return nil, refuse("MissingParameter", "The request must contain the parameter device")
	case i.state() != "running" && i.state() != "stopped":
		return nil, refuse("IncorrectState", "Instance '%s' is not 'running'.", i.ID)
	case v.instance != nil:
		return nil, refuse("VolumeInUse", "%s is already attached to an instance", v.id)
	case v.zone != i.Zone:
		return nil, refuse("InvalidVolume.ZoneMismatch", "The volume '%s' is not in the same availability zone as instance '%s'", v.id, i.ID)
	case slices.ContainsFunc(s.attached(i), func(o *volume) bool { return o.device == device }):
		return nil, refuse("InvalidParameterValue", "Invalid value '%s' for unixDevice. Attachment point %s is already in use", device, device)
	}
	v.instance, v.device, v.joined = i, device, time.Now()
	return v.attachment("attaching"), nil
}

func (s *Server) detachVolume(f form) ([]node, error) {
	v, err := s.volume(f.get("VolumeId"))
	if err != nil {
		return nil, err
	}
	if v.instance == nil {
		return nil, refuse("IncorrectState", "Volume '%s' is in the 'available' state.", v.id)
	}
	n := v.attachment("detaching")
	v.instance, v.device = nil, ""
	return n, nil
}
