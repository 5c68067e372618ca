package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// transfers are the speeds of steps.FileUpload and steps.FileDownload with a real
// worker, MB/s.
type transfers struct{ up, down float64 }

// transferFile makes a file of so many MB.
func transferFile(dir string, mb int) (string, error) {
	name := filepath.Join(dir, "file")
	block := make([]byte, 1e6)
	for i := range block {
		block[i] = byte(i * i >> 3)
	}
	f, err := os.Create(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for range mb {
		if _, err := f.Write(block); err != nil {
			return "", err
		}
	}
	return name, f.Close()
}

// transferSteps are the steps of the two directions.
func transferSteps(file, dest string) [2]string {
	return [2]string{
		fmt.Sprintf(`[steps.FileUpload(workersrc = %q, masterdest = %q)]`, file, dest),
		fmt.Sprintf(`[steps.FileDownload(mastersrc = %q, workerdest = "file")]`, file),
	}
}

func (t *transfers) set(i int, mb int, wall time.Duration) {
	*[]*float64{&t.up, &t.down}[i] = float64(mb) / wall.Seconds()
}

// oursTransfer measures our master with our worker.
func oursTransfer(ctx context.Context, binary, dir string, p plan, f *figures) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	file, err := transferFile(dir, p.transferMB)
	if err != nil {
		return err
	}
	for i, steps := range transferSteps(file, filepath.Join(dir, "uploaded")) {
		wall, err := oneTransfer(ctx, binary, filepath.Join(dir, fmt.Sprint(i)), steps)
		if err != nil {
			return err
		}
		f.transfer.set(i, p.transferMB, wall)
	}
	return nil
}

// oneTransfer returns how long a build of the steps takes, on a worker that waits.
func oneTransfer(ctx context.Context, binary, dir, steps string) (time.Duration, error) {
	web, port, err := ourConfig(dir, 1, 1, steps)
	if err != nil {
		return 0, err
	}
	m, err := ourMaster(ctx, binary, dir)
	if err != nil {
		return 0, err
	}
	defer m.stop()
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("p"), 0o600); err != nil {
		return 0, err
	}
	w, err := startProcess(ctx, nil, binary, "worker", "--master", fmt.Sprintf("ws://127.0.0.1:%d", port),
		"--name", "w0", "--basedir", filepath.Join(dir, "w0"), "--password-file", password)
	if err != nil {
		return 0, err
	}
	defer w.stop()
	if err := waitConnected(ctx, web); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := force(web, 1); err != nil {
		return 0, err
	}
	err = waitBuilds(ctx, web, 1)
	return time.Since(start), err
}

// stockTransfer measures a stock master with a stock worker.
func stockTransfer(ctx context.Context, dir string, p plan, f *figures) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	file, err := transferFile(dir, p.stockTransferMB)
	if err != nil {
		return err
	}
	for i, steps := range transferSteps(file, filepath.Join(dir, "uploaded")) {
		s, err := newStock(ctx, filepath.Join(dir, fmt.Sprint(i)), 1, 1, steps, 1)
		if err != nil {
			return err
		}
		wall, err := s.withWorker(ctx)
		if err != nil {
			return err
		}
		f.transfer.set(i, p.stockTransferMB, wall)
	}
	return nil
}

// withWorker returns how long the one queued build takes from the moment a stock
// worker is attached, which is when it starts.
func (s *stockMaster) withWorker(ctx context.Context) (time.Duration, error) {
	if err := s.run(ctx); err != nil {
		return 0, err
	}
	defer s.proc.stop()
	if err := s.said(ctx, "queued"); err != nil {
		return 0, err
	}
	dir := filepath.Join(s.dir, "w0")
	create := exec.CommandContext(ctx, "buildbot-worker", "create-worker", "--protocol=msgpack_experimental_v7", dir, fmt.Sprintf("127.0.0.1:%d", s.port), "w0", "p")
	if out, err := create.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("buildbot-worker create-worker: %w\n%s", err, out)
	}
	w, err := startProcess(ctx, nil, "buildbot-worker", "start", "--nodaemon", dir)
	if err != nil {
		return 0, err
	}
	defer w.stop()
	attached := func() (bool, error) { return s.logged("attached") > 0, nil }
	if err := poll(ctx, time.Millisecond, attached); err != nil {
		return 0, err
	}
	start := time.Now()
	err = s.said(ctx, "done")
	return time.Since(start), err
}
