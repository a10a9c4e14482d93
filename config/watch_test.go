package config

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// watched is a watcher that runs in the bubble of a test, and what it loaded.
type watched struct {
	*testing.T
	watcher *Watcher
	dir     string

	mu    sync.Mutex
	loads []string
}

const watchedHead = "version: 1\ndefaults: {secrets: [file:secret]}\ninclude: [\"teams/*.yaml\"]\n"

// watch loads the configuration in a new folder and follows it. The files are
// real ones, the clock is not.
func watch(t *testing.T) *watched {
	t.Helper()
	w := &watched{T: t, dir: t.TempDir()}
	w.write("fanjet.yaml", watchedHead+endpointText("a"))
	w.write("secret", sharedSecret)
	if err := os.Mkdir(filepath.Join(w.dir, "teams"), 0o700); err != nil {
		t.Fatal(err)
	}
	w.write("teams/one.yaml", endpointText("one"))
	w.watcher = NewWatcher(filepath.Join(w.dir, "fanjet.yaml"), Options{LookupEnv: func(name string) (string, bool) {
		if name == "BUG" {
			panic("a mistake of ours")
		}
		return environment(name)
	}})
	if _, err := w.watcher.Load(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.watcher.Run(ctx, w.loaded)
	}()
	t.Cleanup(func() { stop(); <-ended })
	return w
}

func endpointText(names ...string) string {
	var b strings.Builder
	b.WriteString("endpoints:\n")
	for _, name := range names {
		fmt.Fprintf(&b, "  %s: {url: \"https://%s.example.com/\"}\n", name, name)
	}
	return b.String()
}

// write writes a file in place, without a new inode.
func (w *watched) write(name, text string) {
	w.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
}

func (w *watched) loaded(cfg *Config, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.loads = append(w.loads, "error")
		return
	}
	var names []string
	for _, e := range cfg.Endpoints {
		names = append(names, e.Name+"="+e.Secrets[0].Reveal()[6:8])
	}
	w.loads = append(w.loads, strings.Join(names, " "))
}

// expect waits for a while and checks what was loaded since.
func (w *watched) expect(after time.Duration, want ...string) {
	w.Helper()
	time.Sleep(after) //nolint:forbidigo // synctest
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.loads, want) {
		w.Errorf("after %s: loaded %q, want %q", after, w.loads, want)
	}
	w.loads = nil
}

// enough is more than a change may take to be noticed.
const enough = lookEvery + 2*settleFor

func TestWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		w.expect(time.Hour) // nothing has changed

		w.write("fanjet.yaml", watchedHead+endpointText("a", "b"))
		w.expect(lookEvery) // it may still be written to
		w.expect(settleFor, "a=Mf b=Mf one=Mf")
		w.expect(time.Hour)

		w.write("secret", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
		w.expect(enough, "a=C2 b=C2 one=C2")

		w.write("teams/two.yaml", endpointText("two"))
		w.expect(enough, "a=C2 b=C2 one=C2 two=C2")
		if err := os.Remove(filepath.Join(w.dir, "teams/one.yaml")); err != nil {
			t.Fatal(err)
		}
		w.expect(enough, "a=C2 b=C2 two=C2")

		w.write("fanjet.yaml", watchedHead+"endpoints:\n  a: {ur")
		w.expect(enough, "error")
		w.expect(time.Hour) // said once
		w.write("fanjet.yaml", watchedHead+endpointText("a"))
		w.expect(enough, "a=C2 two=C2")

		// Whatever a load does: the gateway that asks for it goes on.
		w.write("fanjet.yaml", watchedHead+"endpoints:\n  a: {url: \"https://a.example.com/\", secrets: [env:BUG]}\n")
		w.expect(enough, "error")
		w.write("fanjet.yaml", watchedHead+endpointText("a"))
		w.expect(enough, "a=C2 two=C2")
	})
}

// Files that are not there, or cannot be used, are looked for again.
func TestWatchMissing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		for _, name := range []string{"secret", "fanjet.yaml"} {
			path := filepath.Join(w.dir, name)
			if err := os.Rename(path, path+".away"); err != nil {
				t.Fatal(err)
			}
			w.expect(enough, "error")
			w.expect(time.Hour)
			if err := os.Rename(path+".away", path); err != nil {
				t.Fatal(err)
			}
			w.expect(enough, "a=Mf one=Mf")
		}
	})
}

// A file that is replaced, by a rename or by a link that comes to point
// elsewhere as in Kubernetes, is noticed though size and time are the same.
func TestWatchReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		path := filepath.Join(w.dir, "fanjet.yaml")
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		replace := func(name string, put func(from, to string) error) {
			t.Helper()
			from := filepath.Join(w.dir, name)
			w.write(name, watchedHead+endpointText(name))
			if err := os.Chtimes(from, info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
			if err := put(from, path); err != nil {
				t.Fatal(err)
			}
			w.expect(enough, name+"=Mf one=Mf")
		}
		link := func(from, to string) error {
			return errors.Join(os.Symlink(from, to+".new"), os.Rename(to+".new", to))
		}
		replace("b", os.Rename)
		replace("c", link)
		replace("d", link)
	})
}

// Only a secret has changed, in each of the ways in which they are put in place.
func TestWatchSecret(t *testing.T) {
	t.Parallel()
	const second = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
	in := func(w *watched, name string) string { return filepath.Join(w.dir, name) }
	for name, put := range map[string]func(w *watched, version int, text string){
		"written": func(w *watched, _ int, text string) { w.write("secret", text) },
		"renamed": func(w *watched, _ int, text string) {
			w.write("secret.new", text)
			if err := os.Rename(in(w, "secret.new"), in(w, "secret")); err != nil {
				w.Fatal(err)
			}
		},
		// A folder with each version; ..data leads to the present one, and what is
		// configured to a file in it. The old folder goes.
		"mounted by Kubernetes": func(w *watched, version int, text string) {
			folder := fmt.Sprintf("..2026_%d", version)
			err := os.Mkdir(in(w, folder), 0o700)
			w.write(folder+"/secret", text)
			err = errors.Join(err, os.Symlink(folder, in(w, "..data_tmp")), os.Rename(in(w, "..data_tmp"), in(w, "..data")))
			if version == 1 {
				err = errors.Join(err, os.Remove(in(w, "secret")), os.Symlink("..data/secret", in(w, "secret")))
			} else {
				err = errors.Join(err, os.RemoveAll(in(w, fmt.Sprintf("..2026_%d", version-1))))
			}
			if err != nil {
				w.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := watch(t)
				put(w, 1, second)
				w.expect(enough, "a=C2 one=C2")
				put(w, 2, "whsec_bm90IGFueSBtb3Jl")
				w.expect(enough, "error")
				w.expect(time.Hour)
				put(w, 3, sharedSecret)
				w.expect(enough, "a=Mf one=Mf")
				w.expect(time.Hour)
			})
		})
	}
}

// A secret that changes while the configuration is loaded is the same for all
// endpoints, and loaded again.
func TestWatchSecretInBetween(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		w.write("fanjet.yaml", watchedHead+endpointText("a")+"  b: {url: \"https://b.example.com/\", secrets: [file:secret]}\n")
		w.expect(enough, "a=Mf b=Mf one=Mf")
		w.expect(time.Hour) // nobody reads any more
		read, changed := w.watcher.files.read, false
		w.watcher.files.read = func(path string) ([]byte, error) {
			data, err := read(path)
			if filepath.Base(path) == "secret" && !changed {
				changed = true
				w.write("secret", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
			}
			return data, err
		}
		w.watcher.Reload()
		w.expect(0, "a=Mf b=Mf one=Mf")
		w.expect(enough, "a=C2 b=C2 one=C2")
	})
}

// Two writes that the clock of the file system cannot tell apart.
func TestWatchSameTimeAndSize(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		path := filepath.Join(w.dir, "fanjet.yaml")
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		w.write("fanjet.yaml", watchedHead+endpointText("b"))
		if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
		w.expect(enough, "b=Mf one=Mf")
	})
}

// A file that is being written is loaded once, when it is complete, although
// its beginning would be valid by itself.
func TestWatchSlowWriter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		// Written to in intervals shorter than the wait, over several looks.
		for i := range 12 {
			names := []string{"a", "b", "c", "d"}[:1+i/3]
			w.write("fanjet.yaml", watchedHead+endpointText(names...)+strings.Repeat("#", i))
			w.expect(settleFor * 3 / 4)
		}
		w.expect(enough, "a=Mf b=Mf c=Mf d=Mf one=Mf")
	})
}

func TestWatchReloadAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		w.watcher.Reload()
		w.expect(0, "a=Mf one=Mf") // though nothing has changed
		w.write("fanjet.yaml", watchedHead+endpointText("b"))
		w.watcher.Reload()
		w.expect(0, "b=Mf one=Mf")
		w.expect(time.Hour)

		w.write("fanjet.yaml", watchedHead+endpointText("c"))
		w.expect(lookEvery - time.Hour%lookEvery + settleFor/2)
		w.watcher.Reload() // while it waits for the file to come to rest
		w.expect(0, "c=Mf one=Mf")
		w.expect(time.Hour)
	})
}

// A file that never comes to rest is loaded nevertheless, now and then.
func TestWatchRestlessFile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		for i := range int(lookEvery+maxSettle) * 2 / int(settleFor) {
			w.write("teams/one.yaml", endpointText("one")+"# "+fmt.Sprint(i)+"\n")
			time.Sleep(settleFor / 2) //nolint:forbidigo // synctest
			synctest.Wait()
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.loads) == 0 {
			t.Error("it was not loaded")
		}
	})
}
