//go:build servers

package subscriber

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

	"fanjet/internal/wire"
)

// A server is a web server of Debian in front of a receiver.
type server struct {
	name    string
	command []string // with DIR for its directory
	file    string
	config  string
	reload  func(dir string, p *os.Process) error
}

func hang(sig syscall.Signal) func(string, *os.Process) error {
	return func(_ string, p *os.Process) error { return p.Signal(sig) }
}

var servers = []server{
	{"nginx", []string{"nginx", "-p", "DIR", "-e", "DIR/error.log", "-c", "DIR/config", "-g", "daemon off;"}, "config", `
pid {{.Dir}}/pid;
worker_processes 2;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path {{.Dir}}/body; proxy_temp_path {{.Dir}}/proxy;
	fastcgi_temp_path {{.Dir}}/f; uwsgi_temp_path {{.Dir}}/u; scgi_temp_path {{.Dir}}/s;
	keepalive_requests {{.Requests}};
	keepalive_timeout {{.Seconds}}s;
	server {
		listen 127.0.0.1:{{.Port}} ssl {{if .H2}}http2{{end}};
		ssl_certificate {{.Dir}}/cert.pem; ssl_certificate_key {{.Dir}}/key.pem;
		location / { proxy_pass http://{{.Backend}}; proxy_http_version 1.1; proxy_request_buffering on; proxy_next_upstream off; }
	}
}
`, hang(syscall.SIGHUP)},
	{"apache", []string{"apache2", "-d", "DIR", "-f", "DIR/config", "-DFOREGROUND"}, "config", `
ServerName localhost
PidFile {{.Dir}}/pid
ErrorLog {{.Dir}}/error.log
LogLevel warn http2:info
DefaultRuntimeDir {{.Dir}}
Listen 127.0.0.1:{{.Port}}
{{range $m := .Modules}}LoadModule {{$m}}_module /usr/lib/apache2/modules/mod_{{$m}}.so
{{end}}
Protocols {{if .H2}}h2{{end}} http/1.1
KeepAlive On
MaxKeepAliveRequests {{.Requests}}
KeepAliveTimeout {{.Seconds}}
StartServers 2
ThreadsPerChild 64
MaxRequestWorkers 256
User nobody
Group nogroup
SSLEngine On
SSLCertificateFile {{.Dir}}/cert.pem
SSLCertificateKeyFile {{.Dir}}/key.pem
ProxyPass / http://{{.Backend}}/
`, hang(syscall.SIGUSR1)},
	{"haproxy", []string{"haproxy", "-W", "-f", "DIR/config"}, "config", `
defaults
	mode http
	timeout connect 5s
	timeout client 30s
	timeout server 30s
	timeout http-keep-alive {{.Seconds}}s
	retries 0
frontend f
	bind 127.0.0.1:{{.Port}} ssl crt {{.Dir}}/both.pem alpn {{if .H2}}h2,{{end}}http/1.1
	default_backend b
backend b
	server s {{.Backend}}
`, hang(syscall.SIGUSR2)},
	{"lighttpd", []string{"lighttpd", "-D", "-f", "DIR/config"}, "config", `
server.modules = ("mod_openssl", "mod_proxy")
server.document-root = "{{.Dir}}"
server.errorlog = "{{.Dir}}/error.log"
server.port = {{.Port}}
server.bind = "127.0.0.1"
server.upload-dirs = ("{{.Dir}}")
server.max-keep-alive-requests = {{.Requests}}
server.max-keep-alive-idle = {{.Seconds}}
server.feature-flags = ("server.h2proto" => "{{if .H2}}enable{{else}}disable{{end}}", "server.graceful-restart-bg" => "enable", "server.graceful-shutdown-timeout" => 10)
ssl.engine = "enable"
ssl.pemfile = "{{.Dir}}/both.pem"
proxy.server = ("" => (("host" => "127.0.0.1", "port" => {{.BackendPort}})))
`, hang(syscall.SIGUSR1)},
	{"caddy", []string{"caddy", "run", "--config", "DIR/config", "--adapter", "caddyfile"}, "config", `
{
	admin unix/{{.Dir}}/admin
	auto_https off
	servers {
		protocols {{if .H2}}h2{{end}} h1
		timeouts { 
			idle {{.Seconds}}s 
		}
	}
}
https://localhost:{{.Port}}, https://127.0.0.1:{{.Port}} {
	tls {{.Dir}}/cert.pem {{.Dir}}/key.pem
	reverse_proxy {{.Backend}} {
		lb_try_duration 0
	}
}
`, func(dir string, _ *os.Process) error {
		out, err := exec.Command("caddy", "reload", "--force", "--config", dir+"/config", "--adapter", "caddyfile", "--address", "unix/"+dir+"/admin").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	}},
	{"node", []string{"node", "DIR/config"}, "config", `
const cluster = require('cluster'), fs = require('fs'), http = require('http'), http2 = require('http2'), https = require('https');
if (cluster.isPrimary) {
	let ready = false;
	cluster.fork().on('listening', () => ready = true);
	process.on('SIGHUP', () => {
		if (!ready) return; // the one before is not done yet
		ready = false;
		const old = Object.values(cluster.workers);
		cluster.fork().on('listening', () => {
			ready = true;
			old.forEach(w => w.isConnected() && w.send('stop', () => {}));
		});
	});
	cluster.on('fork', w => w.on('error', () => {}));
} else {
	const agent = new http.Agent({ keepAlive: true });
	const tls = { key: fs.readFileSync('{{.Dir}}/key.pem'), cert: fs.readFileSync('{{.Dir}}/cert.pem'), allowHTTP1: true };
	const sessions = new Set();
	const handle = (req, res) => {
		const headers = {};
		for (const k of ['webhook-id', 'content-type', 'content-length']) if (req.headers[k]) headers[k] = req.headers[k];
		const out = http.request('http://{{.Backend}}/', { method: 'POST', agent, headers }, r => { res.writeHead(r.statusCode); r.resume(); r.on('end', () => res.end()); });
		out.on('error', () => { res.writeHead(502); res.end(); });
		req.pipe(out);
	};
	const server = {{if .H2}}http2.createSecureServer(tls, handle){{else}}https.createServer(tls, handle){{end}};
	server.keepAliveTimeout = {{.Seconds}}000;
	server.maxRequestsPerSocket = {{.Requests}};
	{{if .H2}}server.on('session', s => { sessions.add(s); s.on('close', () => sessions.delete(s)); });{{end}}
	server.listen({{.Port}}, '127.0.0.1');
	process.on('message', () => {
		server.close(() => process.disconnect());
		for (const s of sessions) s.close();
	});
}
`, hang(syscall.SIGHUP)},
}

// modules are those of Apache.
var modules = []string{"mpm_event", "authz_core", "ssl", "socache_shmcb", "http2", "proxy", "proxy_http"}

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
	if err := template.Must(template.New("").Parse(s.config)).Execute(&config, map[string]any{
		"Dir": dir, "Port": port, "Backend": backend, "BackendPort": backendPort, "H2": http2,
		"Requests": requests, "Seconds": seconds, "Modules": modules,
	}); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{s.file: config.Bytes(), "cert.pem": certPEM, "key.pem": keyPEM, "both.pem": append(bytes.Clone(certPEM), keyPEM...)} {
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
	ep := testEndpoint(t, url, loopback)
	trust(ep, roots)

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
				id := fmt.Sprintf("msg_%d", ids.Add(1))
				var body []byte
				if len(id)%2 == 0 {
					body = []byte("{}")
				}
				env := &wire.Envelope{EventID: id, Subject: "events.a", Attempt: 1}
				ep.attempt(t.Context(), env, nil, body, func(r Result) {
					mu.Lock()
					defer mu.Unlock()
					for _, reason := range r.resent {
						resends[reason]++
					}
					if r.Class != Class2xx {
						failed.Add(1)
						failures[fmt.Sprintf("%d %s", r.Status, r.describe())]++
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
