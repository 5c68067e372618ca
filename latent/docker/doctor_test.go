package docker

import (
	"fmt"
	"strings"
	"testing"

	"buildstar/internal/dockertest"
	"buildstar/latent"
)

// What buildstar doctor shows of a Docker worker.
func TestDockerDoctor(t *testing.T) {
	reach := "fine reach " + dockertest.Host() + ": "
	for _, tt := range []struct {
		args string
		want []string
	}{
		{`image="GUEST"`, []string{reach, "fine disk: ", `fine image: "guest:test" is there: `}},
		{`image="none/such:1"`, []string{reach, "fine disk: ", `ill image: the engine has no image "none/such:1"`}},
		{`image="none/such:1", autopull=True`, []string{reach, "fine disk: ", `fine image: "none/such:1" is not there; the first build pulls it`}},
		{`image="none/such:1", dockerfile="FROM scratch"`, []string{reach, "fine disk: ", "fine image: the first build makes it"}},
		{`dockerfile="none.tar", custom_context=True`, []string{reach, "fine disk: ", "ill image: open "}},
		{`image=util.Property("image")`, []string{reach, "fine disk: ", "fine image: it depends on the build"}},
		{`image="GUEST", docker_host="unix:///nowhere"`, []string{"ill reach unix:///nowhere: "}},
		{`image="GUEST", docker_host=util.Property("host")`, []string{"fine docker_host: it depends on the build"}},
	} {
		r := newRig(t, `image="GUEST"`)
		r.declare(tt.args)
		var got []string
		r.b.(latent.Doctor).Examine(r.ctx, func(f latent.Finding) { got = append(got, fmt.Sprintf("%v %s: %s", f.Health, f.Check, f.Text)) })
		ok := len(got) == len(tt.want)
		for i := range got {
			ok = ok && strings.HasPrefix(got[i], tt.want[i])
		}
		if !ok {
			t.Errorf("%s: found %q, want %q", tt.args, got, tt.want)
		}
		r.declare(`image="GUEST"`) // for the end of the test
	}
}

func TestReportDisk(t *testing.T) {
	reportDisk("/no/such", func(f latent.Finding) {
		if f.Health != latent.Doubtful || !strings.Contains(f.Text, "/no/such") {
			t.Errorf("%+v", f)
		}
	})
}
