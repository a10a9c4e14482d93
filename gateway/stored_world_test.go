package gateway

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"fanjet/config"
	"fanjet/gateway/match"
	"fanjet/internal/broker"
	"fanjet/internal/wire"
	"fanjet/subscriber"
	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
)

// storedWorld is a receiver, and a gateway with its embedded server on a folder
// that gateways of other versions may have written.
type storedWorld struct {
	*world
	dir string
	// wait is how long failed attempts wait for the next one.
	wait time.Duration
}

// newStoredWorld makes everything, but runs no gateway yet. Nothing in it gets too
// old: neither sources nor letters nor deliveries have a greatest age.
func newStoredWorld(t *testing.T, dir string, wait time.Duration) *storedWorld {
	t.Helper()
	w := &storedWorld{world: &world{T: t, hook: newReceiver(t)}, dir: dir, wait: wait}
	w.cfg = &config.Config{
		NATS: broker.Settings{
			Prefix: wire.DefaultPrefix, Replicas: 1,
			Embedded: broker.Embedded{StoreDir: dir, Subjects: []string{"events.>", "theirs.>"}},
		},
		Sources: []config.Source{
			{Stream: "EVENTS", Subjects: []string{"events.>"}, Create: true},
			{Stream: "THEIRS"},
		},
		Admin: config.Admin{Listen: "127.0.0.1:0"},
		Egress: egress.Policy{
			AllowHTTP: true, AllowCIDRs: []egress.AllowedNet{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}}, Ports: []uint16{443},
		},
	}
	w.stop = func() {}
	t.Cleanup(func() { w.stop() })
	return w
}

// serves gives the configuration these endpoints. Each gets the events on the
// subject of its name.
func (w *storedWorld) serves(endpoints ...endpoint.Settings) {
	w.cfg.Endpoints, w.cfg.Subscriptions = nil, nil
	for _, e := range endpoints {
		w.cfg.Endpoints = append(w.cfg.Endpoints, e)
		w.cfg.Subscriptions = append(w.cfg.Subscriptions, match.Subscription{
			Name: e.Name, Subjects: []string{"events." + e.Name, "theirs." + e.Name}, Endpoints: []string{e.Name},
		})
	}
}

// endpoint is one whose failed attempts wait, and whose deliveries do not expire.
func (w *storedWorld) endpoint(name string, change ...func(*endpoint.Settings)) endpoint.Settings {
	w.Helper()
	return endpointFor(w.T, w.hook, name, append([]func(*endpoint.Settings){func(e *endpoint.Settings) {
		e.Retry = endpoint.Retry{Schedule: []time.Duration{w.wait}}
		e.Timeout = 5 * time.Minute
	}}, change...)...)
}

// begin runs a gateway. Endpoints that are not in its configuration are soon gone
// for good.
func (w *storedWorld) begin(grace, removal time.Duration) {
	w.Helper()
	gw, err := New(Options{Config: w.cfg, Log: zaptest.NewLogger(w.T, zaptest.Level(zap.ErrorLevel)), Registry: prometheus.NewRegistry(), Grace: grace})
	if err != nil {
		w.Fatal(err)
	}
	gw.adjust = func(o *subscriber.Options) { o.RemovalGrace = removal }
	stop := w.launch(gw)
	end := w.connect(gw.server)
	w.gw, w.stop = gw, func() { end(); stop() }
}

// connect connects the test to an embedded server, until end is called.
func (w *storedWorld) connect(server *broker.Server) (end func()) {
	w.Helper()
	nc, err := broker.Connect(w.Context(), w.cfg.NATS, broker.ConnectOptions{Name: "test", Server: server})
	if err != nil {
		w.Fatal(err)
	}
	if w.js, err = jetstream.New(nc); err != nil {
		w.Fatal(err)
	}
	return nc.Close
}

// alone does something with the embedded server while no gateway runs.
func (w *storedWorld) alone(do func()) {
	w.Helper()
	server, err := broker.StartEmbedded(w.cfg.NATS.Embedded, zap.NewNop())
	if err != nil {
		w.Fatal(err)
	}
	defer server.Shutdown()
	defer w.connect(server)()
	do()
}

// pack writes a folder into a tar.gz. What belongs to the machine stays out: the
// key of the operator and the lock, which are made anew.
func pack(t *testing.T, dir, file string) {
	t.Helper()
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	zip, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewWriter(zip)
	err = errors.Join(filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || filepath.Dir(path) == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := archive.WriteHeader(&tar.Header{Name: filepath.ToSlash(name), Mode: 0o600, Size: int64(len(data))}); err != nil {
			return err
		}
		_, err = archive.Write(data)
		return err
	}), archive.Close(), zip.Close(), out.Close())
	if err != nil {
		t.Fatal(err)
	}
}

// unpack writes what pack packed into a folder.
func unpack(t *testing.T, file, dir string) {
	t.Helper()
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	zip, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(zip)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if !filepath.IsLocal(header.Name) || strings.Contains(header.Name, `\`) {
			t.Fatal(fmt.Errorf("%s: a file outside", header.Name))
		}
		path := filepath.Join(dir, filepath.FromSlash(header.Name))
		data, err := io.ReadAll(archive)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(path), 0o700)
		}
		if err == nil {
			err = os.WriteFile(path, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
