package worker

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"buildstar/conn/wire"
)

const (
	readSize = 64 << 10
	pipeSize = 256 << 10 // of the kernel's, where it lets us
)

// chunk is what a pipe gave; end says that it will give no more.
type chunk struct {
	key  string
	p    []byte
	free chan<- []byte
	end  bool
}

// process is a command's child: the leader of a process group of its own. Its pipes
// are read by goroutines, two chunks ahead at most.
type process struct {
	cmd    *exec.Cmd
	chunks chan chunk
	open   int // pipes that have not ended
	pipes  []*os.File
	exited chan struct{} // closed when the child ended; it is not reaped before release
	wg     sync.WaitGroup

	release     chan struct{}
	releaseOnce sync.Once
	reaped      chan struct{}
	state       *os.ProcessState // after reaped
}

// startProcess starts argv in dir. env is NAME=value; stdin, if not nil, is what the
// child reads.
func startProcess(argv []string, dir string, env []string, stdin *string, usePTY bool) (*process, error) {
	path, err := lookPath(argv[0], dir, env)
	if err != nil {
		return nil, err
	}
	p := &process{
		cmd:     &exec.Cmd{Path: path, Args: argv, Dir: dir, Env: env},
		chunks:  make(chan chunk),
		exited:  make(chan struct{}),
		release: make(chan struct{}),
		reaped:  make(chan struct{}),
	}
	var child []*os.File // ends that only the child keeps
	defer func() {
		for _, f := range child {
			f.Close()
		}
	}()
	if usePTY {
		child, err = p.terminal()
	} else {
		child, err = p.pipesFor(stdin)
	}
	if err == nil {
		err = p.start()
	}
	if err != nil {
		p.closePipes()
		return nil, err
	}
	p.wg.Go(p.wait)
	return p, nil
}

// start starts the child. A program that was just written may be held open for a
// moment by another child that is being started; then it is tried again.
func (p *process) start() error {
	for try := 1; ; try++ {
		cmd := &exec.Cmd{
			Path: p.cmd.Path, Args: p.cmd.Args, Dir: p.cmd.Dir, Env: p.cmd.Env, SysProcAttr: p.cmd.SysProcAttr,
			Stdin: p.cmd.Stdin, Stdout: p.cmd.Stdout, Stderr: p.cmd.Stderr,
		}
		err := cmd.Start()
		if err == nil {
			p.cmd = cmd
			return nil
		}
		if try == 5 || !errors.Is(err, syscall.ETXTBSY) {
			return err
		}
		time.Sleep(time.Duration(try) * 20 * time.Millisecond)
	}
}

// pipesFor connects the child by pipes.
func (p *process) pipesFor(stdin *string) (child []*os.File, err error) {
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	for _, stream := range []struct {
		key string
		at  *io.Writer
	}{{wire.Stdout, &p.cmd.Stdout}, {wire.Stderr, &p.cmd.Stderr}} {
		r, w, err := os.Pipe()
		if err != nil {
			return child, fmt.Errorf("make pipe: %w", err)
		}
		growPipe(w, pipeSize)
		*stream.at = w
		child = append(child, w)
		p.read(stream.key, r)
	}
	if stdin == nil {
		return child, nil // reads from /dev/null
	}
	r, w, err := os.Pipe()
	if err != nil {
		return child, fmt.Errorf("make pipe: %w", err)
	}
	p.cmd.Stdin = r
	p.pipes = append(p.pipes, w)
	p.wg.Go(func() {
		// A child that does not want its input closes the pipe; that is its right.
		_, _ = io.WriteString(w, *stdin)
		w.Close()
	})
	return append(child, r), nil
}

// terminal connects the child by a pseudo-terminal, which becomes its controlling one.
func (p *process) terminal() (child []*os.File, err error) {
	master, slave, err := openTerminal()
	if err != nil {
		return nil, fmt.Errorf("open pseudo-terminal: %w", err)
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = slave, slave, slave
	p.read(wire.Stdout, master)
	return []*os.File{slave}, nil
}

// read reads a pipe until it ends.
func (p *process) read(key string, r *os.File) {
	p.pipes = append(p.pipes, r)
	p.open++
	free := make(chan []byte, 2)
	free <- make([]byte, readSize)
	free <- make([]byte, readSize)
	p.wg.Go(func() {
		for {
			buf := <-free
			n, err := r.Read(buf[:readSize])
			if n > 0 {
				p.chunks <- chunk{key: key, p: buf[:n], free: free}
			} else {
				free <- buf
			}
			if err != nil { // a terminal ends with EIO
				p.chunks <- chunk{key: key, end: true}
				return
			}
		}
	})
}

// closePipes makes the pipes end. What is still in chunks must be taken.
func (p *process) closePipes() {
	for _, f := range p.pipes {
		f.Close()
	}
	// If the child never started nobody takes the ends.
	if p.cmd.Process == nil {
		for range p.open {
			<-p.chunks
		}
		p.wg.Wait()
	}
}

// wait waits for the child's end, says so, and reaps it when it is released: until
// then its process group cannot be another's.
func (p *process) wait() {
	awaitExit(p.cmd)
	close(p.exited)
	<-p.release
	// The state says how it ended; a failing Wait leaves it nil.
	_ = p.cmd.Wait()
	p.state = p.cmd.ProcessState
	close(p.reaped)
}

// reap lets the child's entry in the process table go.
func (p *process) reap() { p.releaseOnce.Do(func() { close(p.release) }) }

// signal sends sig to the process group. It must not be called after reap.
func (p *process) signal(sig syscall.Signal) {
	pid := p.cmd.Process.Pid
	if err := syscall.Kill(-pid, sig); err != nil {
		_ = syscall.Kill(pid, sig) // gone already, if this fails as well
	}
}

// lookPath finds the program as execvp would with the child's own PATH.
func lookPath(name, dir string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	path := "/bin:/usr/bin"
	for _, kv := range env {
		if value, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = value
		}
	}
	for _, d := range filepath.SplitList(path) {
		if !filepath.IsAbs(d) {
			d = filepath.Join(dir, d)
		}
		full := filepath.Join(d, name)
		if st, err := os.Stat(full); err == nil && !st.IsDir() && st.Mode()&0o111 != 0 {
			return full, nil
		}
	}
	return "", &fs.PathError{Op: "look for", Path: name, Err: errors.New("no such program in PATH")}
}
