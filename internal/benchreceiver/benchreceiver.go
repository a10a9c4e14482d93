// Package benchreceiver is a receiver of webhooks in a process of its own, for benchmarks:
// its work is not counted as that of the sender. The process is the test binary, started
// again; [Serve], the first thing in TestMain, makes it the receiver.
package benchreceiver

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// variable makes a process a receiver.
const variable = "FANJET_BENCH_RECEIVER"

// plain is its value for one without TLS; else it is the name of a file.
const plain = "1"

// Serve does nothing, unless [Start] started this process: then it answers every request
// with 200 until its standard input ends, and with it the process.
func Serve() {
	file := os.Getenv(variable)
	if file == "" {
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	scheme := "http"
	if err == nil && file != plain {
		var cert tls.Certificate
		cert, err = tls.LoadX509KeyPair(file, file)
		listener, scheme = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}), "https"
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
	server := &http.Server{
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
		}),
		ReadHeaderTimeout: time.Minute,
	}
	server.SetKeepAlivesEnabled(scheme == "http")
	_ = server.Serve(listener)
}

// Start starts a receiver and returns its URL, and what stops it and returns the CPU time
// that it used; it may be called again. With a file, of a certificate and its key in PEM,
// the receiver speaks TLS, and hangs up after each answer.
func Start(file string) (url string, stop func() time.Duration, err error) {
	cmd := exec.Command(os.Args[0])
	if file == "" {
		file = plain
	}
	cmd.Env = append(os.Environ(), variable+"="+file)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = sync.OnceValue(func() time.Duration {
		_ = stdin.Close()
		_ = cmd.Wait()
		return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("the receiver says nothing: %w", err)
	}
	return strings.TrimSpace(line), stop, nil
}
