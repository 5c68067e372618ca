package openstack

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"buildstar/config/prop"
	"buildstar/latent"
)

// A Selector says which image: its name or id, which may depend on a build, or a function
// that chooses one of the list of images (docs/requirements.md A12.7, D2.7).
type Selector struct {
	name     prop.Template[*string]
	Function prop.Renderable // nil: the name says it
}

// selected is how messages call what a Selector takes.
type selected string

func (selected) TypeName() string { return "string or function" }

// Plain returns the name if it depends on no build.
func (s Selector) Plain() (selected, bool) {
	v, plain := s.name.Plain()
	return selected(orZero(v)), plain && s.Function == nil
}

// IsSet reports whether the user gave an image.
func (s Selector) IsSet() bool {
	v, plain := s.name.Plain()
	return s.Function != nil || !plain || orZero(v) != ""
}

// Set takes a name, what renders to one, or a bare function.
func (s *Selector) Set(r prop.Renderable) error {
	if f, ok := r.(prop.Callback); ok && f.TakesPlace() {
		*s = Selector{Function: r}
		return nil
	}
	*s = Selector{}
	return s.name.Set(r)
}

// AppendCanonical appends the encoding that the content hash uses.
func (s Selector) AppendCanonical(dst []byte) []byte {
	dst = s.name.AppendCanonical(dst)
	if s.Function != nil {
		dst = s.Function.AppendCanonical(append(dst, 'f'))
	}
	return dst
}

// image is an image of Glance, as functions see it.
type image struct {
	id, name, status, visibility string
	created, updated             time.Time
	minDisk, minRAM              int64 // GiB, MiB
	size, virtualSize            int64 // bytes
	tags                         []string
	properties                   map[string]any
}

var _ prop.Attributes = (*image)(nil)

// TypeName implements prop.Attributes.
func (*image) TypeName() string { return "image" }

// AttributeNames implements prop.Attributes.
func (*image) AttributeNames() []string {
	return []string{"created", "id", "metadata", "min_disk", "min_ram", "name", "properties", "size", "status", "tags", "updated", "visibility"}
}

// Attribute implements prop.Attributes. Times are texts that sort by time.
func (i *image) Attribute(name string) (any, bool) {
	switch name {
	case "id":
		return i.id, true
	case "name":
		return i.name, true
	case "status":
		return i.status, true
	case "visibility":
		return i.visibility, true
	case "created":
		return i.created.UTC().Format(time.RFC3339), true
	case "updated":
		return i.updated.UTC().Format(time.RFC3339), true
	case "min_disk":
		return i.minDisk, true
	case "min_ram":
		return i.minRAM, true
	case "size":
		return i.size, true
	case "tags":
		l := []any{}
		for _, t := range i.tags {
			l = append(l, t)
		}
		return l, true
	case "properties", "metadata": // which novaclient called them
		return i.properties, true
	}
	return nil, false
}

// gib is how many GiB hold a disk made of the image.
func (i *image) gib() int {
	return int(max(ceilGiB(i.size), ceilGiB(i.virtualSize), i.minDisk))
}

func ceilGiB(bytes int64) int64 { return (bytes + 1<<30 - 1) >> 30 }

// functionTimeout bounds a function that chooses an image.
const functionTimeout = 10 * time.Second

// choose lets the function choose. Whatever it does wrong is the fault of the build's
// configuration: it would do it again (A9.6).
func choose(ctx context.Context, f prop.Renderable, images []*image, props map[string]any, log func(string)) (*image, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, functionTimeout, fmt.Errorf("it took longer than %v", functionTimeout))
	defer cancel()
	list := make([]any, len(images))
	for i, m := range images {
		list[i] = prop.Attributes(m)
	}
	v, err := f.Render(ctx, choice{list, props, log})
	var refused *prop.Refusal
	switch {
	case errors.As(err, &refused) && !refused.Cannot:
		return nil, errors.New(refused.Text)
	case refused != nil:
		return nil, latent.Cannotf("%s", refused.Text)
	case err != nil && ctx.Err() == nil, err != nil && strings.Contains(err.Error(), "it took longer"):
		return nil, latent.Cannotf("choose an image among %d: %w", len(images), err)
	case err != nil:
		return nil, fmt.Errorf("choose an image among %d: %w", len(images), err)
	}
	switch v := v.(type) {
	case *image:
		return v, nil
	case string:
		if i, err := pick(images, v); err != nil || i != nil {
			return i, err
		}
		return nil, latent.Cannotf("choose an image: %v returned %q, which is no image that can be used", f, v)
	}
	return nil, latent.Cannotf("choose an image: %v returned %s: want one of the images it was given", f, describe(v))
}

func describe(v any) string {
	if a, ok := v.(prop.Attributes); ok {
		return "a " + a.TypeName()
	}
	return prop.Describe(v)
}

// pick returns the image with an id, or else with a name; nil if there is none.
func pick(images []*image, want string) (found *image, err error) {
	for _, i := range images {
		if i.id == want {
			return i, nil
		}
	}
	for _, i := range images {
		if i.name != want {
			continue
		}
		if found != nil {
			return nil, latent.Cannotf("there are several images %q: %s and %s; write the id of one", want, found.id, i.id)
		}
		found = i
	}
	return found, nil
}

// choice is what the function is called with.
type choice struct {
	images []any
	props  map[string]any
	log    func(string)
}

var (
	_ prop.Arguments = choice{}
	_ prop.Printer   = choice{}
)

func (c choice) Arguments() []any { return []any{c.images} }
func (c choice) Print(text string) {
	c.log(text + "\n")
}
func (c choice) Property(name string) (any, bool) {
	v, ok := c.props[name]
	return v, ok
}
func (choice) SourceStamp(string) (prop.SourceStamp, bool) { return prop.SourceStamp{}, false }
func (choice) Fact(string) (any, bool)                     { return nil, false }
func (choice) BuildURL() string                            { return "" }
func (choice) Secret(context.Context, string) (string, error) {
	return "", errors.New("a function that chooses an image has no secrets")
}
