package ec2

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"buildstar/config/prop"
	"buildstar/latent"
)

// Kind returns "ec2".
func (p *Params) Kind() string { return "ec2" }

// Varies reports whether an argument depends on properties.
func (p *Params) Varies() bool {
	_, kind := p.InstanceType.Plain()
	_, ami := p.AMI.Plain()
	_, tags := p.Tags.Plain()
	return !kind || !ami || p.depends() || !tags
}

// Render returns the arguments of an instance for a build, checked.
func (p *Params) Render(ctx context.Context, props prop.Props) (latent.Arguments, error) {
	a := latent.Arguments{}
	kind, err := p.InstanceType.Render(ctx, noSecrets{props})
	if err != nil {
		return nil, fmt.Errorf("render instance_type: %w", err)
	}
	ami, err := p.AMI.Render(ctx, noSecrets{props})
	if err != nil {
		return nil, fmt.Errorf("render ami: %w", err)
	}
	names := secretNames{props, map[string]bool{}}
	data, err := p.UserData.Render(ctx, names)
	if err == nil && p.depends() {
		err = names.check(orZero(data))
	}
	if err != nil {
		return nil, fmt.Errorf("render user_data: %w", err)
	}
	tags, err := p.Tags.Render(ctx, noSecrets{props})
	if err != nil {
		return nil, fmt.Errorf("render tags: %w", err)
	}
	labels := map[string]any{}
	for k, v := range orZero(tags) {
		labels[k] = v
	}
	a["instance_type"], a["ami"], a["user_data"], a["tags"] = kind, orZero(ami), orZero(data), labels
	_, err = p.read(a)
	return a, err
}

// secretNames are properties whose secrets are placeholders: the ledger keeps what is rendered,
// and must not hold them.
type secretNames struct {
	prop.Props
	asked map[string]bool
}

// check refuses secrets that were not asked for: what somebody wrote into a property of a
// build must not name one.
func (s secretNames) check(data string) error {
	for _, m := range placeholder.FindAllStringSubmatch(data, -1) {
		if name, ok := strings.CutPrefix(m[1], "SECRET:"); ok && !s.asked[name] {
			return fmt.Errorf("%s is replaced only in a text that does not depend on the build; write %%(secret:%s)s", m[0], name)
		}
	}
	return nil
}

// depends reports whether user_data depends on the build.
func (p *Params) depends() bool {
	_, plain := p.UserData.Plain()
	return !plain
}

// Secret returns @SECRET:name@.
func (s secretNames) Secret(_ context.Context, name string) (string, error) {
	s.asked[name] = true
	return "@SECRET:" + name + "@", nil
}

// noSecrets are properties without secrets.
type noSecrets struct{ prop.Props }

// Secret refuses.
func (noSecrets) Secret(_ context.Context, name string) (string, error) {
	return "", fmt.Errorf("secret %q: the provider shows this to everybody", name)
}

// wanted are the arguments of an instance, read and checked.
type wanted struct {
	kind, ami, data string
	tags            map[string]string
}

// read reads what Render returned, maybe long ago.
func (p *Params) read(a latent.Arguments) (w wanted, err error) {
	for name, to := range map[string]*string{"instance_type": &w.kind, "ami": &w.ami, "user_data": &w.data} {
		if *to, err = prop.Convert[string](a[name]); err != nil {
			return w, fmt.Errorf("%s: %w", name, err)
		}
	}
	if w.tags, err = prop.Convert[map[string]string](a["tags"]); err != nil {
		return w, fmt.Errorf("tags: %w", err)
	}
	filtered := len(p.Owners) > 0 || p.LocationRegex != ""
	switch {
	case w.kind == "":
		return w, errors.New("instance_type is empty")
	case w.ami == "" && !filtered:
		return w, errors.New("ami is empty")
	}
	if err := checkUserData(w.data); err != nil {
		return w, fmt.Errorf("user_data: %w", err)
	}
	if err := checkTags(w.tags); err != nil {
		return w, fmt.Errorf("tags: %w", err)
	}
	return w, nil
}

// What the API takes.
const (
	maxUserData = 16384 // bytes
	maxTagKey   = 128   // characters
	maxTagValue = 256
	maxTags     = 50 - 3 // ours
)

func checkUserData(s string) error {
	if len(s) > maxUserData {
		return fmt.Errorf("it has %d bytes, and an instance takes %d", len(s), maxUserData)
	}
	return nil
}

func checkTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return fmt.Errorf("there are %d, and an instance takes %d beside the master's own", len(tags), maxTags)
	}
	for k, v := range tags {
		switch lower := strings.ToLower(k); {
		case strings.HasPrefix(lower, "aws:"), strings.HasPrefix(lower, "buildstar."):
			return fmt.Errorf("%q: keys that begin with aws: or buildstar. are not free", k)
		case k == "" || len([]rune(k)) > maxTagKey:
			return fmt.Errorf("%q: a key has 1 to %d characters", k, maxTagKey)
		case len([]rune(v)) > maxTagValue:
			return fmt.Errorf("%q: a value has at most %d characters", k, maxTagValue)
		}
	}
	return nil
}

var placeholder = regexp.MustCompile(`@(WORKERNAME|WORKERPASS|BUILDMASTER|BUILDMASTER_PORT|BUILDMASTER_URL|SECRET:[^@\s]+)@`)

// tell replaces the placeholders of user_data.
func tell(ctx context.Context, data string, in latent.Launch, secret func(context.Context, string) (string, error)) (string, error) {
	var errs []error
	text := placeholder.ReplaceAllStringFunc(data, func(s string) string {
		switch name := strings.Trim(s, "@"); name {
		case "WORKERNAME":
			return in.Worker
		case "WORKERPASS":
			return in.Password
		case "BUILDMASTER":
			return in.Host
		case "BUILDMASTER_PORT":
			return strconv.Itoa(in.Port)
		case "BUILDMASTER_URL":
			return in.URL()
		default:
			v, err := secret(ctx, strings.TrimPrefix(name, "SECRET:"))
			errs = append(errs, err)
			return v
		}
	})
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	return text, checkUserData(text)
}

func isIPv4(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is4()
}

// accounts are numbers of AWS accounts, as the API writes them: with 12 digits.
type accounts []string

// TypeName is what messages call it.
func (accounts) TypeName() string { return "int or list of ints" }

// FromValue reads an integer or a list of them.
func (a *accounts) FromValue(v any) error {
	*a = nil
	if v == nil {
		return nil
	}
	l, ok := v.([]any)
	if !ok {
		l = []any{v}
	}
	for _, v := range l {
		n, ok := v.(int64)
		if !ok {
			return fmt.Errorf("want int or list of ints, got %s", prop.Describe(v))
		}
		if n < 1 || n > 999_999_999_999 {
			return fmt.Errorf("%d is no number of an account: they have 12 digits", n)
		}
		*a = append(*a, fmt.Sprintf("%012d", n))
	}
	return nil
}

// volume is one to attach.
type volume struct{ ID, Device string }

type volumes []volume

// TypeName is what messages call it.
func (volumes) TypeName() string { return "list of (volume id, device)" }

// FromValue reads a list of pairs.
func (vs *volumes) FromValue(v any) error {
	*vs = nil
	if v == nil {
		return nil
	}
	pairs, ok := v.([]any)
	if !ok {
		return fmt.Errorf("want %s, got %s", vs.TypeName(), prop.Describe(v))
	}
	for i, pair := range pairs {
		p, err := prop.Convert[[]string](pair)
		if err != nil || len(p) != 2 || !strings.HasPrefix(p[0], "vol-") || p[1] == "" {
			return fmt.Errorf(`item %d: want a pair such as ("vol-0123456789abcdef0", "/dev/sdf")`, i+1)
		}
		*vs = append(*vs, volume{p[0], p[1]})
	}
	return nil
}
