package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// newServer starts a NATS server that is a process of its own.
func (w *world) newServer(durability string) *node {
	w.Helper()
	ports := freePorts(w, 2)
	n := &node{c: &cluster{w: w}, name: "server", config: filepath.Join(w.dir, "server.conf"), client: ports[0], monitor: ports[1]}
	text := fmt.Sprintf("listen: %q\nhttp: %q\njetstream: {store_dir: %q, sync_interval: %q}\n",
		n.client, n.monitor, filepath.Join(w.dir, "server"), strings.Replace(durability, "fsync", "always", 1))
	if err := os.WriteFile(n.config, []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		n.end(syscall.SIGKILL)
		if w.Failed() {
			w.Logf("the latest log of the server:\n%s", n.log.String())
		}
	})
	n.run()
	return n
}

// run starts the one server of a run, and waits until it can be used.
func (n *node) run() {
	n.c.w.Helper()
	n.restart()
	n.c.w.until("the server is healthy", n.healthy)
}

// section is the section nats of a gateway of that server.
func (n *node) section() string { return fmt.Sprintf("{url: %q}", n.url()) }

func (n *node) url() string { return "nats://" + n.client }
