package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"buildstar/internal/dockertest"
)

// TestDockerKills kills the master again and again while builds over several images run in
// containers: every request ends as SUCCESS, in its image, and no container is left.
func TestDockerKills(t *testing.T) {
	builds, images, workers, kills := 8, 2, 3, 3
	if v := os.Getenv("BUILDSTAR_DOCKER_KILLS"); v != "" {
		if _, err := fmt.Sscan(v, &builds, &images, &workers, &kills); err != nil {
			t.Fatalf("BUILDSTAR_DOCKER_KILLS: want the numbers of builds, images, workers and kills: %v", err)
		}
	}
	m := newMaster(t, fmt.Sprintf(`
names = ["docker-kill-%%d" %% i for i in range(%d)]
c = {
    "workers": [worker.DockerLatentWorker(n, None, %q, masterFQDN = %q, image = util.Interpolate("killed:%%(prop:image)s"),
        dockerfile = "context.tar", custom_context = True, encoding = "identity", buildargs = {"N": util.Interpolate("%%(prop:image)s")},
        followStartupLogs = True) for n in names],
    "protocols": {"msgpack_experimental_v7": {"port": {WORKERS}}},
    "builders": [util.BuilderConfig("b%%d" %% i, workernames = names, factory = util.BuildFactory([
        steps.FileExists(file = util.Interpolate("/image-%%(prop:image)s")),
        steps.ShellCommand(command = ["/buildstar", "version"]),
        steps.MasterShellCommand(command = ["sleep", "1"]),
        steps.ShellCommand(command = ["/buildstar", "version"]),
    ])) for i in range(2)],
    "schedulers": [schedulers.ForceScheduler("force", ["b0", "b1"], properties = [util.StringParameter("image")])],
    "collapseRequests": False,
    "www": {"port": "tcp:{WEB}:interface=127.0.0.1"},
}`, workers, dockertest.Host(), dockertest.Gateway()))
	buildContext(t, "FROM scratch\nARG N\nCOPY buildstar /buildstar\nCOPY Dockerfile /image-$N\nENTRYPOINT [\"/buildstar\", \"worker\"]\n",
		filepath.Join(m.dir, "context.tar"))
	m.start()
	ids := m.builders()
	var requests []int64
	for i := range builds {
		requests = append(requests, m.force(ids[fmt.Sprintf("b%d", i%2)], map[string]any{"image": fmt.Sprint(i % images)}))
	}
	pause := time.NewTicker(4 * time.Second)
	defer pause.Stop()
	for range kills {
		<-pause.C
		m.kill()
		m.start()
	}
	for i, id := range requests {
		b := m.finished(id)
		checkResult(t, b, 0)
		props := one[map[string][2]any](m, fmt.Sprintf("builds/%d/properties", b.ID), "properties")
		if got := fmt.Sprint(props["image"][0]); got != fmt.Sprint(i%images) {
			t.Errorf("request %d built with image %s", id, got)
		}
	}
	var names []string
	for i := range workers {
		names = append(names, fmt.Sprintf("docker-kill-%d", i))
	}
	m.noContainers(names...)
	if status := m.stop(); status != 0 {
		t.Errorf("the master exited with %d", status)
	}
	if left := containers(t); strings.Contains(strings.Join(left, " "), "docker-kill") {
		t.Errorf("left: %v", left)
	}
}
