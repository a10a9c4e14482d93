//go:build servers

package httpsend

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"text/template"
	"time"

	"fanjet/subscriber/outcome"
)

// server is a web server in front of a receiver. Its configuration is a template in
// testdata/servers.
type server struct {
	name    string
	command []string // with DIR for its directory
	reload  func(dir string, p *os.Process) error
}

var servers = []server{
	{"nginx", []string{"nginx", "-p", "DIR", "-e", "DIR/error.log", "-c", "DIR/config", "-g", "daemon off;"}, signal(syscall.SIGHUP)},
	{"apache", []string{"apache2", "-d", "DIR", "-f", "DIR/config", "-DFOREGROUND"}, signal(syscall.SIGUSR1)}, // as apachectl graceful
	{"haproxy", []string{"haproxy", "-W", "-f", "DIR/config"}, signal(syscall.SIGUSR2)},
	{"lighttpd", []string{"lighttpd", "-D", "-f", "DIR/config"}, signal(syscall.SIGUSR1)},
	{"caddy", []string{"caddy", "run", "--config", "DIR/config", "--adapter", "caddyfile"}, func(dir string, _ *os.Process) error {
		out, err := exec.Command("caddy", "reload", "--force", "--config", dir+"/config", "--adapter", "caddyfile", "--address", "unix/"+dir+"/admin").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	}},
	{"node", []string{"node", "DIR/config"}, signal(syscall.SIGHUP)},
}

func signal(s syscall.Signal) func(string, *os.Process) error {
	return func(_ string, p *os.Process) error { return p.Signal(s) }
}

// start starts it, and waits until it takes connections.
func (s server) start(t *testing.T, backend string, http2 bool, requests, seconds int) (url string, roots *x509.CertPool, reload func()) {
	t.Helper()
	dir := t.TempDir()
	_ = os.Chmod(dir, 0o755)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.Addr().String())
	_ = free.Close()
	_, backendPort, _ := net.SplitHostPort(backend)
	certified := httptest.NewTLSServer(nil)
	certified.Close()
	pair := certified.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	var config bytes.Buffer
	if err := template.Must(template.ParseFiles(filepath.Join("testdata", "servers", s.name+".conf"))).Execute(&config, map[string]any{
		"Dir": dir, "Port": port, "Backend": backend, "BackendPort": backendPort, "H2": http2,
		"Requests": requests, "Seconds": seconds,
	}); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"config": config.Bytes(), "cert.pem": certPEM, "key.pem": keyPEM, "both.pem": append(bytes.Clone(certPEM), keyPEM...)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var args []string
	for _, a := range s.command {
		args = append(args, strings.ReplaceAll(a, "DIR", dir))
	}
	log, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		_ = log.Close()
		if t.Failed() {
			for _, name := range []string{"output", "error.log"} {
				text, _ := os.ReadFile(filepath.Join(dir, name))
				t.Logf("%s:\n%.4000s", name, text[max(0, len(text)-4000):])
			}
		}
	})
	for deadline := time.Now().Add(20 * time.Second); ; {
		c, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{InsecureSkipVerify: true})
		if err == nil {
			_ = c.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-time.After(20 * time.Millisecond)
	}
	roots = x509.NewCertPool()
	roots.AddCert(certified.Certificate())
	return "https://127.0.0.1:" + port + "/", roots, func() {
		if err := s.reload(dir, cmd.Process); err != nil {
			t.Error(err)
		}
	}
}

// habit is how a server keeps its connections, and how it is used.
type habit struct {
	name     string
	requests int           // over one connection
	rest     time.Duration // of each that makes attempts; about as long as idle connections are kept
}

// Real servers with short keep-alives are reloaded ten times under load. No attempt
// fails. Nothing arrives twice over HTTP/2, and over HTTP/1.1 only what the one
// retry accounts for.
func TestRealServers(t *testing.T) {
	for _, s := range servers {
		for _, http2 := range []bool{false, true} {
			for _, h := range []habit{{"few requests", 10, 0}, {"many requests", 1000, 0}, {"idle", 1000, time.Second}} {
				name := s.name + "/" + map[bool]string{false: "HTTP-1.1", true: "HTTP-2"}[http2] + "/" + h.name
				t.Run(name, func(t *testing.T) { load(t, s, http2, h) })
			}
		}
	}
}

func load(t *testing.T, s server, http2 bool, h habit) {
	var mu sync.Mutex
	seen := map[string]int{}
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		seen[r.Header.Get("Webhook-Id")]++
		mu.Unlock()
		<-time.After(5 * time.Millisecond)
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, "ok")
	}))
	t.Cleanup(backend.Close)
	url, roots, reload := s.start(t, backend.Listener.Addr().String(), http2, h.requests, 1)
	sender := testSender(t, url, loopback)
	trust(sender, roots)

	const inFlight = 32
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var ids, failed atomic.Int64
	failures, resends := map[string]int{}, map[string]int{}
	var workers sync.WaitGroup
	for range inFlight {
		workers.Go(func() {
			for ctx.Err() == nil {
				if h.rest > 0 {
					<-time.After(h.rest*9/10 + rand.N(h.rest/5))
				}
				n := ids.Add(1)
				body := []byte("{}")[:n%2*2] // each second one is empty
				tryThen(t.Context(), sender, fmt.Sprintf("msg_%d", n), body, func(r outcome.Result) {
					mu.Lock()
					defer mu.Unlock()
					for _, reason := range r.Resent {
						resends[reason]++
					}
					if r.Class != outcome.Class2xx {
						failed.Add(1)
						failures[fmt.Sprintf("%d %s", r.Status, r.Failure())]++
					}
				})
			}
		})
	}
	for range 10 {
		<-time.After(500 * time.Millisecond)
		reload()
	}
	<-time.After(time.Second)
	stop()
	workers.Wait()
	mu.Lock()
	defer mu.Unlock()
	repeats := 0
	for _, n := range seen {
		repeats += n - 1
	}
	t.Logf("%d events, %d failed attempts, %d repeats, sent again: %v", ids.Load(), failed.Load(), repeats, resends)
	for _, f := range slices.Sorted(maps.Keys(failures)) {
		t.Logf("  %d x %s", failures[f], f)
	}
	if failed.Load() > 0 || repeats > resends[reasonClosed] {
		t.Errorf("%d failed attempts, %d repeats", failed.Load(), repeats)
	}
}
