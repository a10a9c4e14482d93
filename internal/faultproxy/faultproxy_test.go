package faultproxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a server that says back what it hears, behind a proxy.
func fixture(t *testing.T) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	p, err := Start(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func connect(t *testing.T, p *Proxy) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn)
}

func say(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
		t.Fatalf("heard %q, not %q: %v", got, text, err)
	}
}

// silent checks that nothing comes for a moment.
func silent(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	n, err := conn.Read(make([]byte, 1))
	if timeout, ok := errors.AsType[net.Error](err); n != 0 || !ok || !timeout.Timeout() {
		t.Fatalf("heard %d bytes, error %v", n, err)
	}
}

// ended connects and checks that the connection is reset, at once or a moment
// later.
func ended(t *testing.T, p *Proxy) {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err == nil {
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
		_, err = conn.Read(make([]byte, 1))
	}
	if !isReset(err) {
		t.Errorf("the connection ended with %v", err)
	}
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func TestPassesOn(t *testing.T) {
	t.Parallel()
	p := fixture(t)
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<17) // 2 MiB: more than fits the queues
	for range 3 {
		conn := connect(t, p)
		go func() {
			_, _ = conn.Write(large)
			_ = conn.CloseWrite() // an orderly end arrives as one
		}()
		_ = conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
		got, err := io.ReadAll(conn)
		if err != nil || !bytes.Equal(got, large) {
			t.Fatalf("%d of %d bytes came back: %v", len(got), len(large), err)
		}
	}
}

func TestCutResetsAll(t *testing.T) {
	t.Parallel()
	p := fixture(t)
	conns := []net.Conn{connect(t, p), connect(t, p), connect(t, p)}
	for _, conn := range conns {
		say(t, conn, "a")
		hear(t, conn, "a")
	}
	if n := p.Cut(); n != 3 {
		t.Errorf("%d connections were cut", n)
	}
	for _, conn := range conns {
		_ = conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
		if _, err := conn.Read(make([]byte, 1)); !isReset(err) {
			t.Errorf("the connection ended with %v", err)
		}
	}
	again := connect(t, p)
	say(t, again, "b")
	hear(t, again, "b")
	if n := p.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestRefuse(t *testing.T) {
	t.Parallel()
	p := fixture(t)
	before := connect(t, p)
	say(t, before, "a")
	hear(t, before, "a")
	p.Set(Fault{Refuse: true})
	ended(t, p)
	say(t, before, "b")
	hear(t, before, "b")
	p.Heal()
	after := connect(t, p)
	say(t, after, "c")
	hear(t, after, "c")
}

// Nothing comes through a black hole, in the direction that it has; what was sent
// meanwhile arrives when it is healed.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]Direction{"to the server": ToServer, "to the client": ToClient, "both": Both} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := fixture(t)
			conn := connect(t, p)
			say(t, conn, "a")
			hear(t, conn, "a")
			p.Set(Fault{BlackHole: d})
			say(t, conn, "b")
			silent(t, conn)
			fresh := connect(t, p)
			say(t, fresh, "c")
			silent(t, fresh)
			p.Heal()
			hear(t, conn, "b")
			hear(t, fresh, "c")
			p.Set(Fault{BlackHole: d})
			say(t, conn, "d")
			p.Cut()
			_ = conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
			if _, err := conn.Read(make([]byte, 1)); !isReset(err) {
				t.Errorf("the connection ended with %v", err)
			}
		})
	}
}

// Stranded connections stay silent, whatever heals; new ones work.
func TestStrand(t *testing.T) {
	t.Parallel()
	p := fixture(t)
	old := connect(t, p)
	say(t, old, "a")
	hear(t, old, "a")
	if n := p.Strand(); n != 1 {
		t.Errorf("%d connections were stranded", n)
	}
	say(t, old, "b")
	p.Heal()
	fresh := connect(t, p)
	say(t, fresh, "c")
	hear(t, fresh, "c")
	silent(t, old)
}

// One way works while the other does not.
func TestBlackHoleHasADirection(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	p, err := Start(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	client := connect(t, p)
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	p.Set(Fault{BlackHole: ToServer})
	say(t, client, "a")
	say(t, server, "b")
	hear(t, client, "b")
	silent(t, server)
	p.Set(Fault{BlackHole: ToClient})
	hear(t, server, "a")
	say(t, server, "c")
	silent(t, client)
}

// What is slowed down takes at least as long as the fault says.
func TestDelayAndThrottle(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault Fault
		size  int
		least time.Duration
	}{
		"delay":    {Fault{Delay: 60 * time.Millisecond}, 10, 120 * time.Millisecond}, // there and back
		"throttle": {Fault{Rate: 100_000}, 20_000, 150 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := fixture(t)
			p.Set(tt.fault)
			conn := connect(t, p)
			began := time.Now()
			text := string(bytes.Repeat([]byte("x"), tt.size))
			say(t, conn, text)
			hear(t, conn, text)
			if took := time.Since(began); took < tt.least {
				t.Errorf("it took only %v", took)
			}
			p.Heal()
			say(t, conn, text)
			hear(t, conn, text)
		})
	}
}

// A target that is not there resets its connections.
func TestNoTarget(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	_ = listener.Close()
	p, err := Start(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ended(t, p)
}

// Closing ends everything, in the middle of any fault.
func TestCloseInTheMiddle(t *testing.T) {
	t.Parallel()
	for _, fault := range []Fault{{}, {BlackHole: Both}, {Delay: time.Hour}, {Rate: 1}} {
		p := fixture(t)
		conn := connect(t, p)
		say(t, conn, "a")
		hear(t, conn, "a")
		p.Set(fault)
		say(t, conn, "bbb")
		p.Close() // goleak sees what is left
		if n := p.Connections(); n != 0 {
			t.Errorf("%+v: %d connections", fault, n)
		}
	}
}
