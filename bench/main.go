// Bench measures a whole master: start with many builders, the CPU a build costs,
// and how fast a log comes in. The workers are null workers, which answer every
// command at once, in another process, so that only the master is measured.
//
//	go run ./bench             our master, and stock Buildbot if it is installed
//	go run ./bench -only buildstar -builds 5000
//
// Both masters do the same work in one run on one machine: quote the ratios, not
// the absolute figures (a core of a shared machine is no constant; the calibration
// line says how fast this one was).
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"text/tabwriter"
	"time"
)

// plan is what both masters are asked to do.
type plan struct {
	builders    int // of the start measurement
	builds      int // ours
	stockBuilds int // stock is slower: fewer say as much
	workers     int
	steps       int
	changes     int
	crowd       int
	logMB       int
	stockLogMB  int

	transferMB      int
	stockTransferMB int
}

// figures is what was measured of one master.
type figures struct {
	start, startCPU time.Duration // an empty database
	builds, lasting building      // on workers whose commands end with the connection, and on those that outlive it
	logMBps         float64
	changeLatency   time.Duration // from a change to the first command of its build
	logCPU          time.Duration // per MB
	reload          reloads
	transfer        transfers
	crowd           crowd
}

// building is builds with all workers busy.
type building struct {
	cpu       time.Duration // per build
	perSecond float64
}

func main() {
	if len(os.Args) > 1 {
		if run := children[os.Args[1]]; run != nil {
			if err := run(os.Args[2:]); err != nil {
				fmt.Fprintf(os.Stderr, "bench %s: %v\n", os.Args[1], err)
				os.Exit(1)
			}
			return
		}
	}
	var p plan
	flag.IntVar(&p.builders, "builders", 1000, "builders of the start measurement")
	flag.IntVar(&p.builds, "builds", 2000, "builds to run on our master")
	flag.IntVar(&p.stockBuilds, "stock-builds", 60, "builds to run on the stock master")
	flag.IntVar(&p.changes, "changes", 100, "changes to tell our master, one after the other")
	flag.IntVar(&p.crowd, "crowd", 1000, "workers of ours that come to our master and do nothing")
	flag.IntVar(&p.workers, "workers", 20, "null workers")
	flag.IntVar(&p.steps, "steps", 1, "steps per build")
	flag.IntVar(&p.logMB, "log", 200, "MB of log to send to our master")
	flag.IntVar(&p.stockLogMB, "stock-log", 16, "MB of log to send to the stock master")
	flag.IntVar(&p.transferMB, "transfer", 500, "MB to upload and download with our master")
	flag.IntVar(&p.stockTransferMB, "stock-transfer", 32, "MB to upload and download with the stock master")
	only := flag.String("only", "", "measure only one of: buildstar, stock")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := bench(ctx, p, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// children are what the processes run that this one starts.
var children = map[string]func(args []string) error{"null": nullMain, "crowd": crowdMain, "crowd-workers": crowdWorkersMain}

func bench(ctx context.Context, p plan, only string) error {
	fmt.Printf("calibration: %v for a loop that takes 100 ms on a free 2.5 GHz core\n", calibrate().Round(time.Millisecond))
	var ours, stock *figures
	if only != "stock" {
		fmt.Println("measuring buildstar ...")
		f, err := measureOurs(ctx, p)
		if err != nil {
			return fmt.Errorf("buildstar: %w", err)
		}
		ours = &f
	}
	if _, err := exec.LookPath("buildbot"); err != nil {
		fmt.Println("stock Buildbot is not installed: apt-get install buildbot python3-msgpack python3-autobahn")
	} else if only != "buildstar" {
		fmt.Println("measuring stock Buildbot, which takes some minutes ...")
		f, err := measureStock(ctx, p)
		if err != nil {
			return fmt.Errorf("stock Buildbot: %w", err)
		}
		stock = &f
	}
	fmt.Printf("calibration: %v\n\n", calibrate().Round(time.Millisecond))
	report(ours, stock, p)
	return nil
}

// report prints the figures; a master that was not measured is nil.
func report(ours, stock *figures, p plan) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "measured\tbuildstar\tstock Buildbot\tratio\t")
	row := func(what, unit string, smallerIsBetter bool, of func(*figures) float64) {
		cell := func(f *figures) string {
			if f == nil {
				return "-"
			}
			if of(f) == 0 {
				return "not measured"
			}
			return fmt.Sprintf("%.3g %s", of(f), unit)
		}
		ratio := "-"
		if ours != nil && stock != nil && of(ours) != 0 && of(stock) != 0 {
			r := of(ours) / of(stock)
			if smallerIsBetter {
				r = 1 / r
			}
			ratio = fmt.Sprintf("%.0fx", r)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t\n", what, cell(ours), cell(stock), ratio)
	}
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	row(fmt.Sprintf("start with %d builders", p.builders), "ms", true, func(f *figures) float64 { return ms(f.start) })
	row("its CPU", "ms", true, func(f *figures) float64 { return ms(f.startCPU) })
	row(fmt.Sprintf("CPU per build of %d step(s), %d workers", p.steps, p.workers), "ms", true, func(f *figures) float64 { return ms(f.builds.cpu) })
	row("builds", "per s", false, func(f *figures) float64 { return f.builds.perSecond })
	row("CPU per build that outlives the master", "ms", true, func(f *figures) float64 { return ms(f.lasting.cpu) })
	row("builds", "per s", false, func(f *figures) float64 { return f.lasting.perSecond })
	row("change to first command, median", "ms", true, func(f *figures) float64 { return ms(f.changeLatency) })
	row("log of 80-byte lines", "MB/s", false, func(f *figures) float64 { return f.logMBps })
	row("its CPU per MB", "ms", true, func(f *figures) float64 { return ms(f.logCPU) })
	row(fmt.Sprintf("reload of %d builders, nothing changed", p.builders), "ms", true, func(f *figures) float64 { return ms(f.reload.same) })
	row("one builder changed", "ms", true, func(f *figures) float64 { return ms(f.reload.changed) })
	row("upload, the master's own worker", "MB/s", false, func(f *figures) float64 { return f.transfer.up })
	row("download", "MB/s", false, func(f *figures) float64 { return f.transfer.down })
	row(fmt.Sprintf("%d idle workers attached", p.crowd), "ms", true, func(f *figures) float64 { return ms(f.crowd.Attach) })
	row("heap and stacks of the master for each", "KiB", true, func(f *figures) float64 { return f.crowd.PerWorker / 1024 })
	row("its resident memory for each", "KiB", true, func(f *figures) float64 { return f.crowd.Resident / 1024 })
	w.Flush()
}

// calibrate times a fixed loop of dependent arithmetic.
func calibrate() time.Duration {
	start := time.Now()
	x := uint64(1)
	for range 55_000_000 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	took := time.Since(start)
	if x == 0 { // it never is; the loop must not be optimised away
		panic("xorshift reached 0")
	}
	return took
}

// builderNames returns b0, b1, ... as a list that both Python and Starlark read.
func builderNames(n int) string {
	return "[" + strings.Join(names("b", n), ", ") + "]"
}

func names(prefix string, n int) []string {
	l := make([]string, n)
	for i := range l {
		l[i] = fmt.Sprintf("%q", fmt.Sprint(prefix, i))
	}
	return l
}
