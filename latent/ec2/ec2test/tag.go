package ec2test

import (
	"slices"
	"strings"
)

// taggable are the kinds of things that RunInstances and RequestSpotInstances can tag.
var taggable = []string{"instance", "volume", "spot-instances-request", "network-interface"}

const maxTags = 50

// tagsFor returns the tags that a request wants for a kind of thing.
func tagsFor(f form, kind string) map[string]string {
	tags := map[string]string{}
	for _, spec := range f.parts("TagSpecification") {
		if spec.get("ResourceType") == kind {
			addTags(tags, spec)
		}
	}
	return tags
}

func addTags(tags map[string]string, f form) {
	for _, t := range f.parts("Tag") {
		tags[t.get("Key")] = t.get("Value")
	}
}

// checkTags checks the tags of a request.
func checkTags(f form) error {
	for _, spec := range f.parts("TagSpecification") {
		kind := spec.get("ResourceType")
		if !slices.Contains(taggable, kind) {
			return refuse("InvalidParameterValue", "'%s' is not a valid taggable resource type for this operation.", kind)
		}
		if err := fits(tagsFor(f, kind)); err != nil {
			return err
		}
	}
	return nil
}

func fits(tags map[string]string) error {
	if len(tags) > maxTags {
		return refuse("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
	}
	for k, v := range tags {
		switch {
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return refuse("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
		case k == "" || len(k) > 128 || len(v) > 256:
			return refuse("InvalidParameterValue", "Tag key or value exceeds the maximum length")
		}
	}
	return nil
}

// tagged is one thing that can have tags.
type tagged struct {
	id, kind string
	tags     *map[string]string
}

func (s *Server) things() (all []tagged) {
	for _, i := range sorted(s.instances) {
		all = append(all, tagged{i.ID, "instance", &i.Tags})
	}
	for _, v := range sorted(s.volumes) {
		all = append(all, tagged{v.id, "volume", &v.tags})
	}
	for _, i := range sorted(s.images) {
		all = append(all, tagged{i.ID, "image", &i.tags})
	}
	for _, r := range sorted(s.spots) {
		all = append(all, tagged{r.id, "spot-instances-request", &r.tags})
	}
	for _, a := range sorted(s.addresses) {
		all = append(all, tagged{a.id, "elastic-ip", &a.tags})
	}
	return all
}

func (s *Server) createTags(f form) ([]node, error) {
	more := map[string]string{}
	addTags(more, f)
	things := s.things()
	for _, id := range f.list("ResourceId") {
		n := slices.IndexFunc(things, func(t tagged) bool { return t.id == id })
		if n < 0 {
			return nil, refuse("InvalidID", "The ID '%s' is not valid", id)
		}
		tags := map[string]string{}
		for _, from := range []map[string]string{*things[n].tags, more} {
			for k, v := range from {
				tags[k] = v
			}
		}
		if err := fits(tags); err != nil {
			return nil, err
		}
		*things[n].tags = tags
	}
	return done(true), nil
}

func (s *Server) describeTags(f form) ([]node, error) {
	type row struct{ id, kind, key, value string }
	var found []row
	for _, t := range s.things() {
		for k, v := range *t.tags {
			ok, err := f.match(attributes{"resource-id": {t.id}, "resource-type": {t.kind}, "key": {k}, "value": {v}}.of(*t.tags))
			if err != nil {
				return nil, err
			}
			if ok {
				found = append(found, row{t.id, t.kind, k, v})
			}
		}
	}
	slices.SortFunc(found, func(a, b row) int { return strings.Compare(a.id+a.key, b.id+b.key) })
	return []node{items("tagSet", found, func(r row) []node {
		return []node{leaf("resourceId", r.id), leaf("resourceType", r.kind), leaf("key", r.key), {name: "value", text: r.value}}
	})}, nil
}
