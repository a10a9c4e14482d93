package main

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"text/template"

	"fanjet/config"
)

//go:embed demo.yaml.tmpl
var demoTemplate string

// demoEvent is a sample event and the endpoints that must get it.
type demoEvent struct {
	id, subject, data string
	endpoints         []string
	why               string // it goes to nobody
}

var demoEvents = []demoEvent{
	{id: "payment-1", subject: "events.payments.paid", data: `{"amount": 4200, "currency": "EUR"}`, endpoints: []string{"ledger"}},
	{id: "payment-2", subject: "events.payments.paid", data: `{"amount": 12, "currency": "EUR"}`, why: "the amount is below 1000"},
	{id: "payment-3", subject: "events.payments.refunded", data: `{"amount": 1000, "currency": "USD"}`, endpoints: []string{"ledger"}},
	{id: "push-1", subject: "events.push.ios.sent", data: `{"user": 7, "title": "Your order is on its way"}`, endpoints: []string{"push-gateway"}},
	{id: "push-2", subject: "events.push.android.sent", data: `{"user": 8, "title": "New message"}`, endpoints: []string{"push-gateway"}},
	{id: "build-1", subject: "events.builds.api.finished", data: `{"commit": "9fceb02", "status": "failed"}`, endpoints: []string{"build-board", "chat-bot"}},
	{id: "build-2", subject: "events.builds.web.finished", data: `{"commit": "4b825dc", "status": "passed"}`, why: "the build passed"},
	{id: "chat-1", subject: "events.chat.general.message", data: `{"from": "ada", "text": "good morning"}`, endpoints: []string{"chat-bot"}},
}

// demoPair is an event and an endpoint that must get it.
type demoPair struct{ event, endpoint string }

// demoPairs returns the pairs of the endpoints that are wanted.
func demoPairs(wanted func(endpoint string) bool) []demoPair {
	var pairs []demoPair
	for _, e := range demoEvents {
		for _, endpoint := range e.endpoints {
			if wanted(endpoint) {
				pairs = append(pairs, demoPair{e.id, endpoint})
			}
		}
	}
	return pairs
}

// demoFolder makes a folder for the tour: where temporary files belong, or where that
// is missing, as in the image, in $FANJET_DATA_DIR or the present folder.
func demoFolder() (string, error) {
	var first error
	for _, place := range []string{os.TempDir(), os.Getenv(dataDirEnv), "."} {
		if place == "" {
			continue
		}
		place, err := filepath.Abs(place)
		if err != nil {
			continue
		}
		dir, err := os.MkdirTemp(place, "fanjet-demo-")
		if err == nil {
			return dir, nil
		}
		first = cmp.Or(first, err)
	}
	return "", fmt.Errorf("there is no folder to keep the tour in: %w; name one that can be written to in TMPDIR", first)
}

// demoConfig writes and loads the configuration of the tour, the way that
// `fanjet serve` would. It also returns the text.
func demoConfig(dir, secret, receiver string) (*config.Config, string, error) {
	natsAddr, err := freeAddr(defaultListen)
	if err != nil {
		return nil, "", err
	}
	adminAddr, err := freeAddr("127.0.0.1:8422")
	if err != nil {
		return nil, "", err
	}
	_, port, err := net.SplitHostPort(receiver)
	if err != nil {
		return nil, "", err
	}
	tmpl, err := template.New("demo").Parse(demoTemplate)
	if err != nil {
		return nil, "", err
	}
	var text bytes.Buffer
	err = tmpl.Execute(&text, map[string]string{
		"Dir": filepath.Join(dir, "nats"), "NATS": natsAddr, "Admin": adminAddr,
		"Receiver": "127.0.0.0/8:" + port, "ReceiverAddr": receiver,
	})
	if err != nil {
		return nil, "", err
	}
	path := filepath.Join(dir, "fanjet.yaml")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		return nil, "", err
	}
	cfg, err := config.Load(path, config.Options{
		LookupEnv: func(name string) (string, bool) { return secret, name == "DEMO_SECRET" },
	})
	if err != nil {
		return nil, "", fmt.Errorf("the tour's own configuration: %w", err)
	}
	return cfg, text.String(), nil
}

// freeAddr returns the preferred address if nobody listens there, else one with
// another port.
func freeAddr(preferred string) (string, error) {
	for _, addr := range []string{preferred, "127.0.0.1:0"} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		free := l.Addr().String()
		_ = l.Close()
		return free, nil
	}
	return "", fmt.Errorf("no free port on 127.0.0.1")
}
