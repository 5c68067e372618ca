package wire

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPipeCarries(t *testing.T) {
	a, b := Pipe()
	for _, m := range []string{"one", "", "two"} {
		if err := a.Write([]byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"one", "", "two"} {
		if got, err := b.Read(); string(got) != want || err != nil {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	if err := b.Ping(context.Background()); err != nil {
		t.Errorf("ping: %v", err)
	}
}

func TestPipeBlocksWhenFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe()
		big := bytes.Repeat([]byte{1}, 3*pipeSize) // passes an empty pipe
		if err := a.Write(big); err != nil {
			t.Fatal(err)
		}
		wrote := make(chan error, 1)
		go func() { wrote <- a.Write([]byte("x")) }()
		synctest.Wait()
		select {
		case err := <-wrote:
			t.Fatalf("wrote into a full pipe: %v", err)
		default:
		}
		if got, err := b.Read(); len(got) != len(big) || err != nil {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if err := <-wrote; err != nil {
			t.Fatal(err)
		}
	})
}

func TestPipeBoundsEmptyMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe()
		count := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			for a.Write(nil) == nil {
				count++
			}
		}()
		synctest.Wait()
		b.Close("")
		<-done
		if count == 0 || count > pipeSize/64 {
			t.Errorf("%d empty messages fit", count)
		}
	})
}

func TestPipeGivesUpOnADeafPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := Pipe()
		if err := a.Write(make([]byte, pipeSize)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := a.Write([]byte("x")); err == nil {
			t.Error("wrote into a full pipe")
		}
		if waited := time.Since(start); waited != pipePatience {
			t.Errorf("gave up after %v", waited)
		}
	})
}

func TestPipeClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe()
		if err := a.Write([]byte("last words")); err != nil {
			t.Fatal(err)
		}
		read := make(chan error, 1)
		go func() { _, err := a.Read(); read <- err }()
		synctest.Wait()
		a.Close("enough")
		a.Close("twice")
		if err := <-read; !errors.Is(err, ErrClosed) {
			t.Errorf("own Read: %v", err)
		}
		if err := a.Write(nil); !errors.Is(err, ErrClosed) {
			t.Errorf("own Write: %v", err)
		}
		if err := b.Write(nil); !errors.Is(err, ErrClosed) {
			t.Errorf("the peer's Write: %v", err)
		}
		if err := b.Ping(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("the peer's Ping: %v", err)
		}
		if got, err := b.Read(); string(got) != "last words" || err != nil {
			t.Errorf("the peer read %q, %v; want what was written before", got, err)
		}
		if _, err := b.Read(); !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), "enough") {
			t.Errorf("the peer's Read: %v", err)
		}
	})
}

// A closer does not get what the peer had sent.
func TestPipeCloseDropsOwnInput(t *testing.T) {
	a, b := Pipe()
	if err := a.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	b.Close("")
	if m, err := b.Read(); !errors.Is(err, ErrClosed) {
		t.Errorf("read %q, %v after Close", m, err)
	}
}
