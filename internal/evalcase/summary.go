package evalcase

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"buildstar/config"
)

// Summary returns a snapshot as text, a node or setting a line.
func Summary(s *config.Snapshot) string {
	var b strings.Builder
	m := s.Master
	fmt.Fprintf(&b, "title %q %s\n", m.Title, m.TitleURL)
	fmt.Fprintf(&b, "url %s\n", m.BuildbotURL)
	if p := m.WWW.Port; p != nil {
		fmt.Fprintf(&b, "www %s:%d at %v\n", p.Host, p.Port, p.Pos)
	}
	for _, l := range m.WorkerListen {
		fmt.Fprintf(&b, "workers at %s:%d at %v\n", l.Host, l.Port, l.Pos)
		if l.TLS != nil {
			fmt.Fprintf(&b, "  certificate %s, key %s\n", l.TLS.Cert, l.TLS.Key)
		}
	}
	for _, s := range m.Secrets {
		fmt.Fprintf(&b, "secrets %s at %v\n", s.Type(), s.Pos())
	}
	if !m.CollapseRequests {
		b.WriteString("collapseRequests off\n")
	}
	if m.ResumeTimeout != 10*time.Minute {
		fmt.Fprintf(&b, "resume_timeout %v\n", m.ResumeTimeout)
	}
	if len(m.Properties) > 0 {
		fmt.Fprintf(&b, "properties %s\n", asJSON(m.Properties))
	}
	for _, w := range s.Workers {
		fmt.Fprintf(&b, "%v %s at %v", w.Key(), w.Class, w.Where)
		if w.PasswordSecret != "" {
			fmt.Fprintf(&b, " password=secret:%s", w.PasswordSecret)
		}
		if w.MaxBuilds > 0 {
			fmt.Fprintf(&b, " max_builds=%d", w.MaxBuilds)
		}
		if len(w.Properties) > 0 {
			fmt.Fprintf(&b, " properties=%s", asJSON(w.Properties))
		}
		b.WriteByte('\n')
	}
	for _, d := range s.Builders {
		fmt.Fprintf(&b, "%v on %s in %s at %v\n", d.Key(), strings.Join(d.Workers, ","), d.Builddir, d.Where)
		if d.Factory == nil {
			continue
		}
		for i, step := range d.Factory.Steps {
			fmt.Fprintf(&b, "  step %d %s at %v\n", i+1, step.Type(), step.Pos())
		}
	}
	for _, c := range s.Schedulers {
		fmt.Fprintf(&b, "%v %s for %s at %v\n", c.Key(), c.Type(), strings.Join(c.Builders(), ","), c.Pos())
	}
	for _, c := range s.ChangeSources {
		fmt.Fprintf(&b, "%v %s at %v\n", c.Key(), c.Type(), c.Pos())
	}
	for _, p := range s.Projects {
		fmt.Fprintf(&b, "%v at %v\n", p.Key(), p.Where)
	}
	for _, l := range s.Locks {
		fmt.Fprintf(&b, "%v maxCount=%d at %v\n", l.Key(), l.MaxCount, l.Where)
	}
	for _, in := range s.Inputs {
		fmt.Fprintf(&b, "input %s\n", in.Path)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		if v := s.Env[name]; v != nil {
			fmt.Fprintf(&b, "env %s=%s\n", name, *v)
		} else {
			fmt.Fprintf(&b, "env %s unset\n", name)
		}
	}
	return b.String()
}

func asJSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
