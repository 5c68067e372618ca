package openstack

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"buildstar/latent"
)

// selecting makes a backend whose image is chosen by find, which the text defines.
func selecting(t *testing.T, find string) (*rig, *fake) {
	t.Helper()
	f := newFake(t)
	f.addImage("newer", time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), 1)
	f.addImage("oldest", time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC), 1)
	r := &rig{t: t, ctx: t.Context(), env: latent.Env{Master: "Mtest"}}
	p := evaluate(t, find+"\nx = worker.OpenStackLatentWorker('w_1', 'pw', 'ci-small', image = find, "+fakeAccount+")").Latent.Backend.(*Params)
	p.transport = f
	r.open(p)
	return r, f
}

// docs/requirements.md A12.7, A12.8, D2.7: a function gets the images and returns one.
func TestOpenStackImageFunction(t *testing.T) {
	for find, want := range map[string]string{
		"def find(images):\n    return sorted(images, key = lambda i: i.created)[0]":                                                                                "oldest",
		"def find(images):\n    return sorted(images, key = lambda i: i.created, reverse = True)[0]":                                                                "newer",
		"def find(images):\n    return [i for i in images if i.name == 'debian'][0].id":                                                                             "debian",
		"def find(images):\n    return 'debian'":                                                                                                                    "debian",
		"find = lambda images: images[0] if images[0].size == 3 * 1024 * 1024 * 1024 else None":                                                                     "debian",
		"find = lambda images: images[0] if images[0].properties['made_by'] == 'tests' else None":                                                                   "debian",
		"find = lambda images: images[0] if images[0].status == 'active' and images[0].min_disk == 0 and images[0].min_ram == 0 and images[0].tags == [] else None": "debian",
		"find = lambda images: images[0] if images[0].created == '2024-01-02T03:04:05Z' and images[0].visibility == 'shared' and images[0].updated != '' else None": "debian",
		"find = lambda images: images[0] if dir(images[0])[:2] == ['created', 'id'] and type(images[0]) == 'image' else None":                                       "debian",
	} {
		synctest.Test(t, func(t *testing.T) {
			r, _ := selecting(t, find)
			if r.params.Varies() {
				t.Error("it varies")
			}
			_, s, err := r.tryStart(nil)
			if err != nil || s.Info[2] != want || !strings.Contains(r.log.String(), `the function chose image "`+want+`", `) {
				t.Errorf("%s\n%q, %v, want %s; log %s", find, s.Info, err, want, &r.log)
			}
		})
	}
}

// A function that does not do what it should is the fault of the configuration, which the
// build shows; one that gives up says whose fault it is (A9.5, A9.6).
func TestOpenStackImageFunctionFails(t *testing.T) {
	for find, c := range map[string]struct {
		want   string
		cannot bool
	}{
		"find = lambda images: images[7]":                                  {"choose an image among 3: function lambda (master.star:1): master.star:1:29: list index 7 out of range", true},
		"def find(images):\n    fail('no images today')":                   {"fail: no images today", true},
		"def find(images):\n    while True: pass":                          {"it took more than 10000000 steps", true},
		"def find(images):\n    return find(images)":                       {"choose an image among 3: function find (master.star:1): ", true},
		"find = lambda images: None":                                       {"returned None: want one of the images it was given", true},
		"find = lambda images: 3":                                          {"returned int 3: want one of the images it was given", true},
		"find = lambda images: images":                                     {"choose an image among 3", true},
		"find = lambda images: 'plan9'":                                    {`returned "plan9", which is no image that can be used`, true},
		"find = lambda images: images[0].nothing":                          {"image has no .nothing", true},
		"find = lambda images: fail_to_substantiate('not built yet')":      {"not built yet", false},
		"find = lambda images: cannot_substantiate('there is no such OS')": {"there is no such OS", true},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, f := selecting(t, find)
			_, _, err := r.tryStart(nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, latent.ErrCannotSubstantiate) != c.cannot {
				t.Errorf("%s\n%v, want %s", find, err, c.want)
			}
			if n := len(f.alive()); n > 0 {
				t.Errorf("%d servers", n)
			}
		})
	}
}

// A function that never returns is ended in time.
func TestOpenStackImageFunctionHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := choose(t.Context(), hanging{}, nil, nil, nil)
		if !errors.Is(err, latent.ErrCannotSubstantiate) || !strings.Contains(err.Error(), "it took longer than 10s") || time.Since(began) != functionTimeout {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := choose(ctx, hanging{}, nil, nil, nil); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, latent.ErrCannotSubstantiate) {
			t.Errorf("of a start that is given up: %v", err)
		}
	})
}

// What a function prints is in the log of the start, and it sees the properties of no build:
// its choice is the same for all.
func TestOpenStackImageFunctionPrints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := selecting(t, "def find(images):\n    print('there are', len(images))\n    return images[0]")
		r.start()
		if !strings.Contains(r.log.String(), "there are 3\n") {
			t.Errorf("log: %s", &r.log)
		}
	})
}

// util.renderer and what else depends on a build gets the properties, as everywhere.
func TestOpenStackImageRendered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := newRig(t, `image=util.renderer(lambda props: "deb" + props["rest"])`)
		if _, s, err := r.tryStart(map[string]any{"rest": "ian"}); err != nil || s.Info[2] != "debian" {
			t.Errorf("%q, %v", s.Info, err)
		}
		f.addImage("debian", time.Now(), 1)
		f.addImage("plain", time.Now(), 1)
		time.Sleep(imagesStand)
		if _, _, err := r.tryStart(map[string]any{"rest": "ian"}); !errors.Is(err, latent.ErrCannotSubstantiate) || !strings.Contains(err.Error(), `there are several images "debian": `) {
			t.Errorf("of two images of the name: %v", err)
		}
		r.declareFake(f, `image="00000000-0000-0000-0000-000000000003"`)
		if _, s, err := r.tryStart(nil); err != nil || s.Info[2] != "plain" {
			t.Errorf("by id: %q, %v", s.Info, err)
		}
	})
}

// Images that change between two listings: the function sees what there is (D2.7).
func TestOpenStackImagesChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := selecting(t, "find = lambda images: sorted(images, key = lambda i: i.created)[-1]")
		image := func() string {
			t.Helper()
			ref, s, err := r.tryStart(nil)
			if err != nil {
				t.Fatal(err)
			}
			r.stop(ref)
			return s.Info[2]
		}
		if got := image(); got != "newer" {
			t.Errorf("first %s", got)
		}
		f.addImage("newest", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), 1)
		time.Sleep(imagesStand)
		if got := image(); got != "newest" {
			t.Errorf("then %s", got)
		}
		f.removeImage("newest") // at once: Nova says no, and the list is read again
		if got := image(); got != "newer" {
			t.Errorf("in the end %s", got)
		}
	})
}

func TestImageSize(t *testing.T) {
	for want, i := range map[int]image{0: {}, 1: {size: 1}, 2: {size: 1 << 30, minDisk: 2}, 3: {size: 1<<31 + 1}, 20: {size: 1 << 30, virtualSize: 20 << 30}} {
		if got := i.gib(); got != want {
			t.Errorf("%+v: %d GiB, want %d", i, got, want)
		}
	}
}
