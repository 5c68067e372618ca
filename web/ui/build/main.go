// Command build bundles the scripts and styles of the page into web/ui/dist, which
// is committed and built into the binary: neither node nor a network is needed to
// build the master.
//
//	go run ./web/ui/build          writes web/ui/dist
//	go run ./web/ui/build -check   fails if web/ui/dist is not what the sources make
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

func main() {
	check := flag.Bool("check", false, "compare with what is there instead of writing")
	dir := flag.String("dir", "web/ui", "directory of the sources")
	flag.Parse()
	if err := run(*dir, *check); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dir string, check bool) error {
	files, err := bundle(dir)
	if err != nil {
		return err
	}
	dist := filepath.Join(dir, "dist")
	if check {
		return compare(dist, files)
	}
	return write(dist, files)
}

// bundle makes the files of dist by name. Equal sources make equal files, wherever
// they lie.
func bundle(dir string) (map[string][]byte, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	result := api.Build(api.BuildOptions{
		AbsWorkingDir: abs,
		EntryPointsAdvanced: []api.EntryPoint{
			{InputPath: "src/app.ts", OutputPath: "app"},
			{InputPath: "src/log.ts", OutputPath: "log"},
			{InputPath: "css/app.css", OutputPath: "app"},
		},
		EntryNames:        "[name].[hash]",
		Outdir:            "dist",
		Bundle:            true,
		Format:            api.FormatIIFE,
		Target:            api.ES2022,
		MinifyWhitespace:  true,
		MinifySyntax:      true,
		MinifyIdentifiers: true,
		Charset:           api.CharsetUTF8,
		LegalComments:     api.LegalCommentsNone,
		LogLevel:          api.LogLevelWarning,
		TsconfigRaw:       `{"compilerOptions": {"strict": true, "target": "ES2022"}}`,
	})
	if len(result.Errors) > 0 {
		return nil, fmt.Errorf("bundle the page: %d errors, see above", len(result.Errors))
	}
	files := map[string][]byte{}
	manifest := map[string]string{}
	for _, f := range result.OutputFiles {
		name := filepath.Base(f.Path)
		files[name] = f.Contents
		manifest[strings.SplitN(name, ".", 2)[0]+filepath.Ext(name)] = name
	}
	data, err := json.MarshalIndent(manifest, "", "  ")
	if err != nil {
		return nil, err
	}
	files["manifest.json"] = append(data, '\n')
	return files, nil
}

// compare returns an error that names the files of dist that are not as they
// should be.
func compare(dist string, files map[string][]byte) error {
	var stale []string
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(dist, name))
		if err != nil || !bytes.Equal(got, want) {
			stale = append(stale, name)
		}
	}
	there, err := os.ReadDir(dist)
	if err != nil {
		return err
	}
	for _, f := range there {
		if _, ok := files[f.Name()]; !ok {
			stale = append(stale, f.Name())
		}
	}
	if len(stale) > 0 {
		slices.Sort(stale)
		return fmt.Errorf("%s is not what the sources make (%s): run `go run ./web/ui/build` and commit the result",
			dist, strings.Join(stale, ", "))
	}
	return nil
}

// write makes dist hold the files and nothing else.
func write(dist string, files map[string][]byte) error {
	if err := os.MkdirAll(dist, 0o755); err != nil {
		return err
	}
	there, err := os.ReadDir(dist)
	if err != nil {
		return err
	}
	for _, f := range there {
		if _, ok := files[f.Name()]; !ok {
			if err := os.Remove(filepath.Join(dist, f.Name())); err != nil {
				return err
			}
		}
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dist, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
