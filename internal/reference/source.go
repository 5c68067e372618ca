package main

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"

	"buildstar/starlark/spec"
)

const repository = "buildstar/"

// source finds the comments of the repository's packages, reading each once.
type source struct {
	root     string
	packages map[string]*comments
	err      error // the first package that could not be read
}

// comments are those of one package.
type comments struct {
	doc    string
	types  map[string]string // type -> its comment
	fields map[string]string // type.field -> its comment
}

// of returns the comments of a package by import path.
func (s *source) of(path string) *comments {
	if c := s.packages[path]; c != nil {
		return c
	}
	c := &comments{types: map[string]string{}, fields: map[string]string{}}
	if s.packages == nil {
		s.packages = map[string]*comments{}
	}
	s.packages[path] = c
	dir := filepath.Join(s.root, filepath.FromSlash(strings.TrimPrefix(path, repository)))
	fset := token.NewFileSet()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("no Go files in %s", dir)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, e := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if e != nil {
			err = e
			break
		}
		files = append(files, f)
	}
	if err == nil {
		err = c.read(fset, files, path)
	}
	if err != nil && s.err == nil {
		s.err = fmt.Errorf("read comments of %s: %w", path, err)
	}
	return c
}

func (c *comments) read(fset *token.FileSet, files []*ast.File, path string) error {
	p, err := doc.NewFromFiles(fset, files, path, doc.AllDecls|doc.PreserveAST)
	if err != nil {
		return err
	}
	c.doc = p.Doc
	for _, t := range p.Types {
		c.types[t.Name] = t.Doc
		for _, s := range t.Decl.Specs {
			st, ok := s.(*ast.TypeSpec).Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, f := range st.Fields.List {
				for _, name := range f.Names {
					c.fields[t.Name+"."+name.Name] = f.Doc.Text()
				}
			}
		}
	}
	return nil
}

// class returns the comment of the struct behind a class, about the class.
func (s *source) class(full string, params any) string {
	t := reflect.TypeOf(params).Elem()
	text := s.of(t.PkgPath()).types[t.Name()]
	if rest, ok := strings.CutPrefix(text, t.Name()+" "); ok {
		return "`" + full + "` " + rest
	}
	return text
}

// param returns the comment of a parameter and the struct that declares it.
func (s *source) param(params any, p spec.Param) (text string, in reflect.Type) {
	in = reflect.TypeOf(params).Elem()
	field, _ := in.FieldByName(p.GoField)
	for _, i := range field.Index[:len(field.Index)-1] {
		in = in.Field(i).Type
		if in.Kind() == reflect.Pointer {
			in = in.Elem()
		}
	}
	text = s.of(in.PkgPath()).fields[in.Name()+"."+p.GoField]
	if rest, ok := strings.CutPrefix(text, p.GoField+" "); ok {
		text = "`" + p.Name + "` " + rest
	}
	return text, in
}
