package sqlite

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"buildstar/config"
	"buildstar/state"
)

// oneBuild writes what one build writes: it waits only for acceptance, claim and
// finish.
func oneBuild(s state.Store, builder, worker int64) error {
	ctx := context.Background()
	var request int64
	err := s.Update(ctx, func(tx state.Tx) error {
		ssid, err := tx.AddSourceStamp(state.SourceStamp{Codebase: "c"})
		if err != nil {
			return err
		}
		_, ids, err := tx.AddBuildset(state.Buildset{Reason: "bench", SubmittedAt: 1, SourceStamps: []state.SourceStamp{{ID: ssid}}, Properties: benchProperties},
			[]state.BuildRequest{{BuilderID: builder}})
		if err == nil {
			request = ids[0]
		}
		return err
	})
	if err != nil {
		return err
	}
	var b state.Build
	err = s.Update(ctx, func(tx state.Tx) error {
		if err := tx.Claim(2, request); err != nil {
			return err
		}
		b, err = tx.AddBuild(state.Build{BuilderID: builder, RequestID: request, WorkerID: worker, StartedAt: 2, StateString: "starting", Properties: benchProperties})
		return err
	})
	if err != nil {
		return err
	}
	step := state.Step{BuildID: b.ID, Number: 1, Name: "shell", StartedAt: 3}
	log := state.Log{BuildID: b.ID, Name: "stdio", Slug: "stdio", Type: "s"}
	s.Defer(func(tx state.Tx) (err error) {
		if step.ID, err = tx.AddStep(step); err != nil {
			return err
		}
		log.StepID = step.ID
		if log.ID, err = tx.AddLog(log); err != nil {
			return err
		}
		return tx.AddCommand(state.Command{ID: commandID(b.ID), BuildID: b.ID, StepID: step.ID, ArgsHash: []byte("12345678")})
	}, nil)
	return s.Update(ctx, func(tx state.Tx) error {
		step.Complete, step.StateString, log.Complete, log.NumLines = true, "done", true, 12
		b.Complete, b.StateString, b.Results, b.CompleteAt = true, "build successful", config.Success, 4
		if err := tx.PutStep(step, "finished"); err != nil {
			return err
		}
		if err := tx.PutLog(log); err != nil {
			return err
		}
		if err := tx.PutCommand(state.Command{ID: commandID(b.ID), Done: true}); err != nil {
			return err
		}
		if err := tx.PutBuild(b, "finished"); err != nil {
			return err
		}
		return tx.CompleteRequest(request, config.Success, 4)
	})
}

func commandID(build int64) string { return string(state.AppendValue([]byte("1-"), build)) }

var benchProperties = state.Properties{
	"branch": {Value: "main", Source: "Build"}, "builddir": {Value: "/srv/linux", Source: "Worker"}, "buildername": {Value: "linux", Source: "Builder"},
	"buildnumber": {Value: int64(12), Source: "Build"}, "codebase": {Value: "", Source: "Build"}, "owner": {Value: "me", Source: "Force Build Form"},
	"project": {Value: "", Source: "Build"}, "revision": {Value: "abcdef", Source: "Build"}, "scheduler": {Value: "force", Source: "Scheduler"}, "workername": {Value: "w", Source: "Worker"},
}

func benchStore(b *testing.B) (*Store, int64, int64) {
	s := openStore(b, filepath.Join(b.TempDir(), "s"), Options{Log: slog.New(slog.DiscardHandler)})
	b.Cleanup(func() { s.Close() })
	builder := addBuilder(b, s)
	var worker int64
	err := s.Update(b.Context(), func(tx state.Tx) (err error) {
		worker, err = tx.PutWorker(state.Worker{Name: "w", Active: true}, "configured")
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return s, builder, worker
}

// cpu reports the processor time of this process per operation: on a busy machine the
// time on the clock says little.
func cpu(b *testing.B) func() {
	used := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	start := used()
	return func() { b.ReportMetric(float64(used()-start)/float64(b.N)/1000, "cpu-us/op") }
}

func benchBuilds(b *testing.B, atOnce int) {
	s, builder, worker := benchStore(b)
	before := s.writer.commits.Load()
	b.ReportAllocs()
	b.ResetTimer()
	defer cpu(b)()
	work := make(chan struct{})
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for range work {
				if err := oneBuild(s, builder, worker); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for range b.N {
		work <- struct{}{}
	}
	close(work)
	wg.Wait()
	b.ReportMetric(float64(s.writer.commits.Load()-before)/float64(b.N), "commits/build")
}

func BenchmarkBuildAlone(b *testing.B)        { benchBuilds(b, 1) }
func BenchmarkBuildsFiftyAtOnce(b *testing.B) { benchBuilds(b, 50) }

// The page of a builder: its newest 50 builds.
func BenchmarkRead50Builds(b *testing.B) {
	s, builder, worker := benchStore(b)
	for range 500 {
		if err := oneBuild(s, builder, worker); err != nil {
			b.Fatal(err)
		}
	}
	q := state.Where("builderid", builder)
	q.Order, q.Limit = []state.Order{{Field: "number", Desc: true}}, 50
	b.ReportAllocs()
	defer cpu(b)()
	for b.Loop() {
		err := s.View(b.Context(), func(tx state.ReadTx) error {
			rows, err := tx.Builds(q)
			if len(rows) != 50 {
				b.Fatalf("%d rows", len(rows))
			}
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
