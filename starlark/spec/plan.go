package spec

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"buildstar/config/prop"
)

// A plan is what reflection found out about a parameter struct, once per type.
type plan struct {
	typ        reflect.Type
	params     []param
	byName     map[string]int
	positional []int // indexes into params
	rest       int   // params index of `star:"*"`, or -1
	kwrest     int   // params index of `star:"**"`, or -1
	where      []int // field index of Where prop.Pos, or nil
	makes      bool
	setsPos    bool
}

// A param is one parameter.
type param struct {
	name     string
	optional bool
	keyword  bool // only by keyword
	index    []int
	typ      reflect.Type
	set      setter
	typeName string // what users call its values
	want     string // the same, in a sentence
	noneOK   bool   // None is a value of the type
	check    *check
	noFunc   bool
	secret   bool   // its values are shown nowhere
	hint     string // what to write instead of a value of a wrong type
	field    reflect.StructField
}

// A check is what tags ask of a plain value.
type check struct {
	min, max       float64
	hasMin, hasMax bool
	oneOf          []string
}

// noParams is the plan of methods that are not supported.
var noParams = &plan{rest: -1, kwrest: -1}

// maxParams is how many parameters a struct may have: the size of a fieldSet.
const maxParams = 128

type fieldSet [maxParams / 64]uint64

func (s *fieldSet) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s *fieldSet) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

var (
	plans          sync.Map // reflect.Type -> *plan
	credentialType = reflect.TypeFor[prop.Credential]()
	posType        = reflect.TypeFor[prop.Pos]()
	makerType      = reflect.TypeFor[maker]()
	poserType      = reflect.TypeFor[poser]()
)

type maker interface{ Make(*Call) any }
type poser interface{ SetPos(prop.Pos) }

// planFor returns the plan of what newStruct makes. It panics if the declaration
// is wrong: that is a mistake of this program, not of a user.
func planFor(what string, newStruct func() any) *plan {
	t := reflect.TypeOf(newStruct())
	if t == nil || t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("spec: New of %s returns %v, want a pointer to a struct", what, t))
	}
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	p := &plan{
		typ: t.Elem(), byName: make(map[string]int), rest: -1, kwrest: -1,
		makes: t.Implements(makerType), setsPos: t.Implements(poserType),
	}
	if err := p.addFields(t.Elem(), nil, false); err != nil {
		panic(fmt.Sprintf("spec: %s: %v", what, err))
	}
	if len(p.params) > maxParams {
		panic(fmt.Sprintf("spec: %s has %d parameters, at most %d are possible", what, len(p.params), maxParams))
	}
	got, _ := plans.LoadOrStore(t, p)
	return got.(*plan)
}

func (p *plan) addFields(t reflect.Type, index []int, keyword bool) error {
	for i := range t.NumField() {
		f := t.Field(i)
		at := append(slices.Clone(index), i)
		tag, tagged := f.Tag.Lookup("star")
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case f.Type == posType && f.Name == "Where":
			p.where = at
			continue
		case f.Anonymous && f.Type.Kind() == reflect.Struct && (!tagged || name == ""):
			if err := p.addFields(f.Type, at, keyword || options == "kw"); err != nil {
				return err
			}
			continue
		case !tagged || name == "-":
			continue
		case !f.IsExported():
			return fmt.Errorf("field %s has a star tag but is not exported", f.Name)
		}
		if err := p.addField(f, at, name, options, keyword); err != nil {
			return fmt.Errorf("field %s: %w", f.Name, err)
		}
	}
	return nil
}

func (p *plan) addField(f reflect.StructField, at []int, name, options string, keyword bool) error {
	a := param{name: name, index: at, typ: f.Type, keyword: keyword, field: f, noFunc: f.Tag.Get("nofunc") != "",
		secret: f.Type == credentialType || f.Type == reflect.PointerTo(credentialType), hint: f.Tag.Get("hint")}
	for o := range strings.SplitSeq(options, ",") {
		switch o {
		case "":
		case "optional":
			a.optional = true
		case "kw":
			a.keyword = true
		case "secret":
			a.secret = true
		default:
			return fmt.Errorf("unknown option %q in its star tag", o)
		}
	}
	n := len(p.params)
	switch name {
	case "*":
		p.rest, a.optional = n, true
		if f.Type.Kind() != reflect.Slice {
			return fmt.Errorf("further arguments need a slice, not %v", f.Type)
		}
	case "**":
		p.kwrest, a.optional = n, true
		if f.Type.Kind() != reflect.Map || f.Type.Key().Kind() != reflect.String {
			return fmt.Errorf("further keyword arguments need a map of strings, not %v", f.Type)
		}
	default:
		if _, dup := p.byName[name]; dup {
			return fmt.Errorf("there are two parameters %q", name)
		}
		p.byName[name] = n
		if !a.keyword {
			p.positional = append(p.positional, n)
		}
	}
	kind, err := kindOf(f.Type)
	if err != nil {
		return err
	}
	a.set, a.typeName, a.want, a.noneOK = kind.set, kind.name, kind.name, kind.noneOK
	if kind.object {
		a.want = article(kind.name)
	}
	if a.check, err = checkOf(f.Tag); err != nil {
		return err
	}
	p.params = append(p.params, a)
	return nil
}

func checkOf(tag reflect.StructTag) (*check, error) {
	var c check
	var err error
	if s, ok := tag.Lookup("min"); ok {
		if c.min, err = strconv.ParseFloat(s, 64); err != nil {
			return nil, fmt.Errorf("tag min: %w", err)
		}
		c.hasMin = true
	}
	if s, ok := tag.Lookup("max"); ok {
		if c.max, err = strconv.ParseFloat(s, 64); err != nil {
			return nil, fmt.Errorf("tag max: %w", err)
		}
		c.hasMax = true
	}
	if s, ok := tag.Lookup("oneof"); ok {
		c.oneOf = strings.Split(s, "|")
	}
	if !c.hasMin && !c.hasMax && c.oneOf == nil {
		return nil, nil
	}
	return &c, nil
}

// names returns the names of all parameters, in order.
func (p *plan) names() []string {
	names := make([]string, 0, len(p.params))
	for _, a := range p.params {
		if a.name != "*" && a.name != "**" {
			names = append(names, a.name)
		}
	}
	return names
}
