package state

import (
	"bytes"
	"encoding/json"
	"fmt"

	"buildstar/config/prop"
)

func unmarshalProperty(data []byte, p *Property) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var pair []any
	if err := d.Decode(&pair); err != nil {
		return err
	}
	var err error
	*p, err = fromPair(pair)
	return err
}

func fromPair(pair []any) (Property, error) {
	if len(pair) != 2 && len(pair) != 3 {
		return Property{}, fmt.Errorf("property: want [value, source], got %d elements", len(pair))
	}
	source, ok := pair[1].(string)
	if !ok {
		return Property{}, fmt.Errorf("property: source is %T", pair[1])
	}
	p := Property{Value: Plain(pair[0]), Source: source}
	if len(pair) == 3 {
		names, _ := pair[2].([]any)
		for _, v := range names {
			name, ok := v.(string)
			if !ok {
				return Property{}, fmt.Errorf("property: the name of a secret is %T", v)
			}
			p.Secrets = append(p.Secrets, name)
		}
	}
	return p, nil
}

// UnmarshalJSON reads an object of [value, source] by name; it takes one pass, where a
// map of Property would start a decoder for each.
func (p *Properties) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var pairs map[string][]any
	if err := d.Decode(&pairs); err != nil {
		return err
	}
	*p = make(Properties, len(pairs))
	for name, pair := range pairs {
		property, err := fromPair(pair)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		(*p)[name] = property
	}
	return nil
}

// Plain is [prop.Plain].
func Plain(v any) any { return prop.Plain(v) }

// Value returns a row as the property value that its JSON is: what functions of the
// configuration get.
func Value(row json.Marshaler) any {
	var v any
	data, err := row.MarshalJSON()
	if err == nil {
		in := json.NewDecoder(bytes.NewReader(data))
		in.UseNumber()
		err = in.Decode(&v)
	}
	if err != nil {
		panic(err) // a row is plain data
	}
	return Plain(v)
}
