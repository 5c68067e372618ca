package worker

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"buildstar/conn/wire"
)

// BenchmarkOutput measures text through a process, Serve, a pipe, and a master that
// decodes it.
func BenchmarkOutput(b *testing.B) {
	const size = 64 << 20
	for _, bench := range []struct{ name, command string }{
		{"80-byte", "yes " + strings.Repeat("x", 79) + " | head -c " + strconv.Itoa(size)},
		{"yes", "yes | head -c " + strconv.Itoa(size)},
		{"one-line", "yes | tr -d '\\n' | head -c " + strconv.Itoa(16<<20)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			m := startWorker(b)
			m.settings(wire.NoNewlines, wire.MaxLine, 64<<10, 0.03)
			total := 0
			for b.Loop() {
				r := m.shell(bench.command, nil, func(r *remote) { r.countOnly = true })
				total += r.bytes
				if r.values[wire.RC] != int64(0) {
					b.Fatal(fmt.Sprint(r.values, r.failure))
				}
			}
			b.SetBytes(int64(total / b.N))
		})
	}
}

// BenchmarkCommand measures a whole command that does nothing.
func BenchmarkCommand(b *testing.B) {
	m := startWorker(b)
	m.settings(wire.NoNewlines, wire.MaxLine, 64<<10, 0.03)
	b.Run("shell", func(b *testing.B) {
		for b.Loop() {
			m.shell("true", nil)
		}
	})
	b.Run("stat", func(b *testing.B) {
		for b.Loop() {
			m.run(wire.CmdStat, cmdArgs{"path": "/"})
		}
	})
}
