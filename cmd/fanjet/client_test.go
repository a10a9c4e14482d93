package main

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fanjet/config"
	"fanjet/internal/broker"
	"fanjet/internal/natstest"
	"fanjet/internal/runfile"
	"fanjet/internal/secret"
)

const besideEndpoints = `
endpoints:
  one: {url: "https://one.example.com/"}
subscriptions:
  - {name: all, subjects: ["none.>"], endpoints: [one]}
sources: [{stream: EVENTS, subjects: ["none.>"], create: true}]
`

// left is what a gateway has left of where it is, once its server listens.
func (p *gatewayProcess) left() (r runfile.Record) {
	p.Helper()
	waitUntil(p.T, "the gateway has left where it is", func() bool {
		found := runfile.Find(p.config, runfile.Folders())
		if len(found) == 1 {
			r = found[0]
		}
		return len(found) == 1 && !strings.HasSuffix(r.NATS.Listen, ":0")
	})
	return r
}

// Whatever becomes of its configuration file, the commands find a gateway that runs.
// Its listeners have ports that the file does not tell, too.
func TestCommandsBesideABrokenFile(t *testing.T) {
	t.Parallel()
	p := newGatewayProcess(t, "", besideEndpoints)
	p.start()
	address := "nats://" + p.left().NATS.Listen
	good := readText(t, p.config)
	commands := [][]string{
		{"endpoints", "list", "--nats", address},
		{"dlq", "list", "--nats", address},
		{"publish", "none.x", "--data", "{}", "--nats", address},
		{"ready"},
		{"endpoints", "list"},
		{"endpoints", "show", "one"},
		{"dlq", "list"},
		{"dlq", "stats"},
		{"audit", "list"},
		{"publish", "none.x", "--data", "{}"},
		{"endpoints", "pause", "one"},
		{"endpoints", "resume", "one"},
	}
	try := func(t *testing.T, warned bool) {
		t.Helper()
		for _, command := range commands {
			got := runFanjet(t, append(command, "--config", p.config)...)
			if got.code != exitOK || strings.Contains(got.err, "fanjet: warning: ") != warned || strings.Contains(got.out, "warning") {
				t.Errorf("fanjet %s: %d, stdout %q, stderr %q", strings.Join(command, " "), got.code, got.out, got.err)
			}
		}
	}
	try(t, false)
	for name, text := range map[string]string{
		"YAML syntax":          good + "egress: [\n",
		"syntax in nats":       strings.Replace(good, "nats: {", "nats: {{", 1),
		"unknown key":          good + "egres: {}\n",
		"unknown key of nats":  strings.Replace(good, "embedded: {", "embedde: {", 1),
		"missing variable":     strings.Replace(good, `"`+crashSecret+`"`, "env:FANJET_NOT_SET", 1) + "canary: {subject: 1}\n",
		"missing secret file":  strings.Replace(good, `"`+crashSecret+`"`, "file:gone", 1) + "egress: {}\n",
		"include that is gone": good + "include: [gone.yaml]\n",
		"another NATS":         strings.Replace(good, "store_dir: data", "store_dir: elsewhere", 1) + "x: 1\n",
		"another listener":     strings.Replace(good, `admin: {listen: "127.0.0.1:0"}`, `admin: {listen: "127.0.0.1:1"}`, 1) + "x: 1\n",
		"empty":                "",
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			try(t, true)
		})
	}
	// The file is right, and a restart would take it to other addresses.
	other := strings.NewReplacer(`admin: {listen: "127.0.0.1:0"}`, `admin: {listen: "127.0.0.1:1"}`, "store_dir: data", "store_dir: elsewhere").Replace(good)
	if err := os.WriteFile(p.config, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := runFanjet(t, "ready", "--config", p.config); got != (result{exitOK, "ready\n", ""}) {
		t.Errorf("ready, where the file names another listener: %+v", got)
	}
	if got := runFanjet(t, "endpoints", "list", "--config", p.config); got.code != exitOK || !strings.Contains(got.err, "was changed since the gateway started") {
		t.Errorf("endpoints list, where the file names another NATS: %+v", got)
	}
	if err := os.Remove(p.config); err != nil {
		t.Fatal(err)
	}
	t.Run("gone", func(t *testing.T) { try(t, true) })
	got := runFanjet(t, "ready", "--admin", strings.TrimPrefix(p.admin, "http://"), "--config", filepath.Join(t.TempDir(), "none.yaml"))
	if got.code != exitOK {
		t.Errorf("ready --admin without a file: %+v", got)
	}
	// What a process leaves that was killed tells nobody that it runs.
	if err := os.WriteFile(p.config, []byte(good+"x: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.kill()
	if got := runFanjet(t, "ready", "--config", p.config); got.code != exitFailure || !strings.Contains(got.err, "does not answer") {
		t.Errorf("ready after a kill: %+v", got)
	}
	if err := os.WriteFile(p.config, []byte("admin: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := runFanjet(t, "ready", "--config", p.config); got.code != exitFailure || !strings.Contains(got.err, "name the address with --admin") {
		t.Errorf("ready after a kill, with a file that says nothing: %+v", got)
	}
}

// With a NATS server of its own the gateway needs no folder, and --nats takes the
// place of a file that is gone.
func TestCommandsWithoutAFile(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{Listen: true})
	p := newGatewayProcess(t, "", besideEndpoints)
	text := strings.Replace(readText(t, p.config), `{embedded: {store_dir: data, listen: "127.0.0.1:0"}}`, "{url: \""+server.URL()+"\"}", 1)
	if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p.start()
	none := filepath.Join(t.TempDir(), "none.yaml")
	for _, command := range [][]string{
		{"endpoints", "list"}, {"endpoints", "show", "one"}, {"dlq", "list"}, {"dlq", "stats"}, {"audit", "list"}, {"publish", "none.x", "--data", "{}"},
	} {
		got := runFanjet(t, append(command, "--config", none, "--nats", server.URL())...)
		if got.code != exitOK || !strings.Contains(got.err, "there is no such file") {
			t.Errorf("fanjet %s --nats: %+v", strings.Join(command, " "), got)
		}
		got = runFanjet(t, append(command, "--config", none)...)
		if got.code != exitFailure || !strings.Contains(got.err, "name the server with --nats") {
			t.Errorf("fanjet %s, which could be meant for any NATS: %+v", strings.Join(command, " "), got)
		}
	}
	if err := os.WriteFile(p.config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := runFanjet(t, "ready", "--config", p.config); got.code != exitOK {
		t.Errorf("ready: %+v", got)
	}
}

// A password is left nowhere: who needs the one of the gateway that runs is told.
func TestPasswordOfAGatewayThatRuns(t *testing.T) {
	t.Parallel()
	running := runfile.NATS{URL: "nats://n:4222", Prefix: "fanjet", Password: true}
	for name, test := range map[string]struct {
		settings broker.Settings
		warned   bool
	}{
		"lost":        {broker.Settings{URL: "nats://n:4222"}, true},
		"in the file": {broker.Settings{URL: "nats://n:4222", Password: secret.New("p")}, false},
		"in the URL":  {broker.Settings{URL: "nats://u:p@n:4222"}, false},
	} {
		c := config.Client{Config: &config.Config{NATS: test.settings}}
		warnings := strings.Join(preferRunning(&c, running, &globals{}), "\n")
		if strings.Contains(warnings, "a password, which cannot be read") != test.warned {
			t.Errorf("%s: %q", name, warnings)
		}
	}
}

// The certificate of the embedded server is found without the file, too.
func TestCommandsBesideABrokenFileWithTLS(t *testing.T) {
	t.Parallel()
	p := newGatewayProcess(t, "", besideEndpoints)
	cert, key := serverCertificate(t)
	text := strings.Replace(readText(t, p.config), "embedded: {", "embedded: {tls: {cert: nats.crt, key: nats.key}, ", 1)
	for name, content := range map[string]string{"fanjet.yaml": text, "nats.crt": cert, "nats.key": key} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(p.config), name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.start()
	p.left()
	if err := os.WriteFile(p.config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := runFanjet(t, "endpoints", "list", "--config", p.config); got.code != exitOK || !strings.Contains(got.err, "the file is empty") {
		t.Errorf("endpoints list: %+v", got)
	}
}

// serverCertificate is a certificate for example.com that signed itself, and its key.
func serverCertificate(t *testing.T) (cert, key string) {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	pair := server.TLS.Certificates[0]
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}
