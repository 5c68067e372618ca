package ec2test

import (
	"cmp"
	"slices"
	"time"
)

// Image is an AMI.
type Image struct {
	ID       string // "": one is given
	Name     string
	Owner    string // an account; "": the caller's own, who is 123456789012
	Location string // "": OWNER/NAME, as of those that live on EBS
	State    string // "": available
	Private  bool   // of another account, and nobody may start it

	created time.Time
	tags    map[string]string
}

// Account is whose requests these are.
const Account = account

// AddImage adds an image and returns its id.
func (s *Server) AddImage(i Image) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addImage(i)
}

func (s *Server) addImage(i Image) string {
	i.ID = cmp.Or(i.ID, s.id("ami"))
	i.Owner = cmp.Or(i.Owner, account)
	i.Location = cmp.Or(i.Location, i.Owner+"/"+i.Name)
	i.State = cmp.Or(i.State, "available")
	i.created = time.Now()
	s.images[i.ID] = &i
	return i.ID
}

func (i *Image) visible() bool { return !i.Private || i.Owner == account }

// alias is the name that some owners have.
func (i *Image) alias() string {
	if i.Owner == amazon {
		return "amazon"
	}
	return ""
}

func (i *Image) attributes() attributes {
	return attributes{
		"image-id": {i.ID}, "name": {i.Name}, "owner-id": {i.Owner}, "owner-alias": {i.alias()}, "manifest-location": {i.Location}, "state": {i.State},
		"architecture": {"x86_64"}, "root-device-type": {"ebs"}, "virtualization-type": {"hvm"}, "image-type": {"machine"}, "is-public": {yesNo(!i.Private)},
	}.of(i.tags)
}

func (i *Image) nodes() []node {
	return []node{
		leaf("imageId", i.ID), leaf("imageLocation", i.Location), leaf("imageState", i.State), leaf("imageOwnerId", i.Owner), leaf("imageOwnerAlias", i.alias()),
		leaf("isPublic", yesNo(!i.Private)), leaf("architecture", "x86_64"), leaf("imageType", "machine"), leaf("name", i.Name),
		leaf("creationDate", stamp(i.created)), leaf("rootDeviceType", "ebs"), leaf("rootDeviceName", "/dev/xvda"), leaf("virtualizationType", "hvm"), tagSet(i.tags),
	}
}

func (s *Server) describeImages(f form) ([]node, error) {
	if err := f.known("ImageId", "InvalidAMIID.NotFound", "The image id '[%s]' does not exist", func(id string) bool {
		return s.images[id] != nil && s.images[id].visible()
	}); err != nil {
		return nil, err
	}
	ids, owners := f.list("ImageId"), f.list("Owner")
	var found []*Image
	for _, i := range sorted(s.images) {
		whose := []string{i.Owner, i.alias()}
		if i.Owner == account {
			whose = append(whose, "self")
		}
		if !i.visible() || len(ids) > 0 && !slices.Contains(ids, i.ID) ||
			len(owners) > 0 && !slices.ContainsFunc(owners, func(o string) bool { return slices.Contains(whose, o) }) {
			continue
		}
		ok, err := f.match(i.attributes())
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, i)
		}
	}
	found, more, err := page(f, found, 1)
	return append([]node{items("imagesSet", found, (*Image).nodes)}, more...), err
}

func (s *Server) createImage(f form) ([]node, error) {
	if _, err := s.instance(f.get("InstanceId")); err != nil {
		return nil, err
	}
	return []node{leaf("imageId", s.addImage(Image{Name: f.get("Name")}))}, nil
}

// known refuses ids that there are not.
func (f form) known(name, code, text string, ok func(string) bool) error {
	for _, id := range f.list(name) {
		if !ok(id) {
			return refuse(code, text, id)
		}
	}
	return nil
}
