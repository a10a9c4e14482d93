package attempt

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"

	"github.com/nats-io/nats.go"
)

// receiverVariable makes the test binary a receiver of webhooks: it has a
// process of its own, so that its work is not counted.
const receiverVariable = "FANJET_BENCH_RECEIVER"

// serveBench answers every request until its standard input ends. When the variable
// names a file with a certificate and its key it speaks TLS, and hangs up after each
// answer.
func serveBench() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	scheme := "http"
	if file := os.Getenv(receiverVariable); err == nil && file != "1" {
		var cert tls.Certificate
		cert, err = tls.LoadX509KeyPair(file, file)
		listener, scheme = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{cert}}), "https"
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(scheme + "://" + listener.Addr().String() + "/hook")
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	})}
	server.SetKeepAlivesEnabled(scheme == "http")
	_ = server.Serve(listener)
}

// benchReceiver starts a receiver and returns its URL.
func benchReceiver(b *testing.B) string {
	b.Helper()
	url, _ := startReceiver(b, "1")
	return url
}

// startReceiver starts a receiver and returns its URL, and what stops it and returns
// the CPU time that it used.
func startReceiver(b *testing.B, variable string) (url string, stop func() time.Duration) {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), receiverVariable+"="+variable)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	stop = sync.OnceValue(func() time.Duration {
		_ = stdin.Close()
		_ = cmd.Wait()
		return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	})
	b.Cleanup(func() { stop() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line), stop
}

// cpuNanos is the CPU time that this process has used, in user and system mode.
func cpuNanos() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkAttempt makes attempts on 64 slots of one endpoint. cpu-ns/op is
// what they cost this process; the receiver is another one.
func BenchmarkAttempt(b *testing.B) {
	ep := testEndpoint(b, benchReceiver(b), loopback, func(e *endpoint.Settings) { e.MaxInFlight = 64 })
	body := append([]byte(`{"type":"order.created","pad":"`), bytes.Repeat([]byte("abcdefgh"), 124)...)
	body = append(body, `"}`...)
	header := nats.Header{"Nats-Msg-Id": {"order-1"}}
	ctx, cancel := context.WithCancelCause(b.Context())
	defer cancel(nil)
	attempts := func(more func() bool) {
		env := &wire.Envelope{EventID: "msg_2b7v4hd3mxo5g6kq7wz3ya5ruc", Subject: "events.order.created", Attempt: 1}
		for more() {
			ep.Attempt(ctx, env, header, body, func(r outcome.Result) {
				if r.Class != outcome.Class2xx {
					b.Errorf("%+v", r)
				}
			})
		}
	}
	b.SetParallelism(32)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuNanos()
	b.RunParallel(func(pb *testing.PB) { attempts(pb.Next) })
	b.ReportMetric(float64(cpuNanos()-before)/float64(b.N), "cpu-ns/op")
}
