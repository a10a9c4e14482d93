package broker

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"fanjet/internal/natstest"
)

func TestTooOld(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"2.10.29":        true,
		"2.11.9":         true,
		"2.12.0":         true,
		"2.12.1-RC.1":    false,
		"2.12.1":         false,
		"2.12.10":        false,
		"2.13.0":         false,
		"v2.15.2":        false,
		"3.0.0":          false,
		"1.9.9":          true,
		"2.12":           false,
		"main-1a2b3c":    false,
		"2.14.0-preview": false,
	} {
		if got := tooOld(version); got != want {
			t.Errorf("%s: too old %v, want %v", version, got, want)
		}
	}
}

func TestCheckServer(t *testing.T) {
	t.Parallel()
	t.Run("old", func(t *testing.T) {
		t.Parallel()
		nc := connect(t, Settings{URL: "nats://" + fakeServer(t, "2.11.9")}, ConnectOptions{})
		err := CheckServer(t.Context(), nc)
		wantError(t, err, "2.11.9", "2.12.1", "batch", "schedules", "upgrade")
	})
	t.Run("without JetStream", func(t *testing.T) {
		t.Parallel()
		s := natstest.Start(t, natstest.Options{Listen: true, Adjust: func(o *server.Options) { o.JetStream = false }})
		nc := connect(t, Settings{URL: s.URL()}, ConnectOptions{})
		wantError(t, CheckServer(t.Context(), nc), "without JetStream", "-js")
	})
	t.Run("account without JetStream", func(t *testing.T) {
		t.Parallel()
		account := server.NewAccount("POOR")
		s := natstest.Start(t, natstest.Options{Listen: true, Adjust: func(o *server.Options) {
			o.Accounts = []*server.Account{account}
			o.Users = []*server.User{{Username: "u", Password: "p", Account: account}}
		}})
		nc := connect(t, Settings{URL: strings.Replace(s.URL(), "nats://", "nats://u:p@", 1)}, ConnectOptions{})
		wantError(t, CheckServer(t.Context(), nc), "not enabled for this account", "credentials")
	})
	t.Run("away", func(t *testing.T) {
		t.Parallel()
		s := natstest.Start(t, natstest.Options{})
		nc := s.Connect()
		s.Stop()
		if err := CheckServer(t.Context(), nc); err == nil || !Transient(err) {
			t.Errorf("error %v is not transient", err)
		}
	})
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Error("no error")
		return
	}
	if Transient(err) {
		t.Errorf("error %q is taken for one that passes by itself", err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not contain %q", err, part)
		}
	}
}

// fakeServer speaks as much of the NATS protocol as a client needs to believe
// that it is connected to the given version, and returns its address.
func fakeServer(t *testing.T, version string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, `INFO {"server_name":"old","version":%q,"proto":1,"headers":true,"max_payload":1048576}`+"\r\n", version)
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			if lines.Text() == "PING" {
				fmt.Fprint(conn, "PONG\r\n")
			}
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}
