package ec2

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"buildstar/config/prop"
)

// devices is a block_device_map, with the keys of the API.
type devices []map[string]any

// TypeName is what messages call it.
func (devices) TypeName() string { return "list of dicts" }

// FromValue reads a list of dicts.
func (d *devices) FromValue(v any) error {
	*d = nil
	if v == nil {
		return nil
	}
	l, ok := v.([]any)
	if !ok {
		return fmt.Errorf("want list of dicts, got %s", prop.Describe(v))
	}
	for i, v := range l {
		m, ok := v.(map[string]any)
		if !ok {
			return fmt.Errorf("item %d: want dict, got %s", i+1, prop.Describe(v))
		}
		*d = append(*d, m)
	}
	_, err := d.mappings()
	return err
}

// mappings makes what the API takes.
func (d devices) mappings() (all []types.BlockDeviceMapping, err error) {
	for i, item := range d {
		m := types.BlockDeviceMapping{}
		if err := fill(reflect.ValueOf(&m).Elem(), item); err != nil {
			return nil, fmt.Errorf("item %d: %w", i+1, err)
		}
		if m.DeviceName == nil {
			return nil, fmt.Errorf(`item %d: DeviceName is missing; write {"DeviceName": "/dev/xvda", ...}`, i+1)
		}
		if m.Ebs != nil && m.Ebs.DeleteOnTermination == nil {
			m.Ebs.DeleteOnTermination = pointer(true)
		}
		all = append(all, m)
	}
	return all, nil
}

// fill sets the fields of a structure of the API by their names.
func fill(to reflect.Value, from map[string]any) error {
	names := fieldNames(to.Type())
	for key, v := range from {
		if !slices.Contains(names, key) {
			hint := "there are " + strings.Join(names, ", ")
			if near := prop.Nearest(key, names); near != "" {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			return fmt.Errorf("there is no %q; %s", key, hint)
		}
		if v == nil {
			continue
		}
		if err := set(to.FieldByName(key), v); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

func fieldNames(t reflect.Type) (names []string) {
	for f := range t.Fields() {
		if f.IsExported() {
			names = append(names, f.Name)
		}
	}
	return names
}

// set sets one field: a text, a number, a bool, one of some words, or a structure.
func set(to reflect.Value, v any) error {
	t := to.Type()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	p := reflect.New(t)
	switch t.Kind() {
	case reflect.String:
		s, err := prop.Convert[string](v)
		if err != nil {
			return err
		}
		if err := oneOf(p, s); err != nil {
			return err
		}
		p.Elem().SetString(s)
	case reflect.Bool:
		b, err := prop.Convert[bool](v)
		if err != nil {
			return err
		}
		p.Elem().SetBool(b)
	case reflect.Int32:
		n, err := prop.Convert[int64](v)
		if err != nil {
			return err
		}
		if n < 0 || n > math.MaxInt32 {
			return fmt.Errorf("%d is no possible number", n)
		}
		p.Elem().SetInt(n)
	case reflect.Struct:
		m, err := prop.Convert[map[string]any](v)
		if err != nil {
			return err
		}
		if err := fill(p.Elem(), m); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s is not supported", t)
	}
	if to.Kind() == reflect.Pointer {
		to.Set(p)
	} else {
		to.Set(p.Elem())
	}
	return nil
}

// oneOf refuses a word that a type with a list of its values does not know.
func oneOf(p reflect.Value, s string) error {
	kind, ok := p.Interface().(*types.VolumeType)
	if !ok {
		return nil
	}
	var words []string
	for _, w := range kind.Values() {
		words = append(words, string(w))
	}
	if slices.Contains(words, s) {
		return nil
	}
	return fmt.Errorf("want one of %s, got %q", strings.Join(words, ", "), s)
}
