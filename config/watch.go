package config

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// Watcher follows a configuration: it loads it, and loads it again when the
// file, one that it includes, or one with a secret that it refers to has
// changed. It looks at them at intervals rather than asking the operating
// system for notifications, which do not come from network file systems, bind
// mounts of single files, and the links that Kubernetes swaps.
type Watcher struct {
	path   string
	opts   Options
	files  files
	seen   *footprint // of the latest load
	forced chan struct{}
	asked  bool
}

const (
	// lookEvery is how often a Watcher looks for changes.
	lookEvery = 2 * time.Second
	// settleFor is how long files must stay as they are before they are loaded:
	// the beginning of a file that is being written may be valid by itself.
	settleFor = 500 * time.Millisecond
	// maxSettle bounds that wait, for a file that never comes to rest.
	maxSettle = 10 * time.Second
)

// NewWatcher returns a watcher of the configuration in the file path. Nothing
// is read before [Watcher.Load].
func NewWatcher(path string, opts Options) *Watcher {
	return &Watcher{
		path: path, opts: opts,
		files:  fileSystem(),
		forced: make(chan struct{}, 1),
	}
}

// Load is [Load]; what it reads is what [Watcher.Run] watches. It must not be
// called while Run runs.
func (w *Watcher) Load() (*Config, error) {
	w.seen = newFootprint(w.files)
	cfg, err := load(w.path, w.opts, w.seen.recording())
	if err == nil {
		w.opts.Before = cfg // so that the next load compiles only what is new
	}
	return cfg, err
}

// Reload makes Run load at once, whether something has changed or not. It
// returns without waiting for that and may be called concurrently.
func (w *Watcher) Reload() {
	select {
	case w.forced <- struct{}{}:
	default: // one that is to come sees the same
	}
}

// Asked reports whether the load that is told of was asked for with
// [Watcher.Reload]; else a file has changed. It is for the function that
// [Watcher.Run] calls.
func (w *Watcher) Asked() bool { return w.asked }

// Run watches until ctx ends. It calls loaded with what every further load
// returns, one after the other. It needs a [Watcher.Load] before, which may
// have failed.
func (w *Watcher) Run(ctx context.Context, loaded func(*Config, error)) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.forced:
			w.asked = true
		case <-tick.C:
			w.asked = false
			if !w.seen.changed() || !w.settle(ctx) {
				continue
			}
		}
		loaded(w.again())
	}
}

// again is a Load that survives our own mistakes: a gateway that runs must not die
// of a file, whatever is in it.
func (w *Watcher) again() (cfg *Config, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			cfg, err = nil, fmt.Errorf("internal error: %v\nThis is a bug. Please report it with this trace:\n%s", fault, debug.Stack())
		}
	}()
	return w.Load()
}

// settle waits until the files have come to rest, or somebody wants them loaded
// at once. It reports false when ctx has ended.
func (w *Watcher) settle(ctx context.Context) bool {
	before := w.seen.sums()
	for waited := time.Duration(0); waited < maxSettle; waited += settleFor {
		timer := time.NewTimer(settleFor)
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-w.forced:
			timer.Stop()
			return true
		case <-timer.C:
		}
		now := w.seen.sums()
		if now == before {
			return true
		}
		before = now
	}
	return true
}
