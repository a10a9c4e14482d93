package main

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"fanjet/internal/natstest"
	"fanjet/webhook"
)

// TestMain lets the test binary be fanjet: the scripts run it under that name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "fanjet" {
		main()
	}
	// A write that meets the shutdown of nats-server 2.15.2 can leave one of its
	// flush loops behind (filestore.go, spinUpFlushLoopLocked).
	goleak.VerifyTestMain(m, natstest.Leaks()...)
}

// TestScript runs the scripts of testdata/script. Each has a folder of its own,
// and besides the commands of testscript those below.
func TestScript(t *testing.T) {
	t.Parallel()
	programs := programFolder(t)
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", programs+string(filepath.ListSeparator)+env.Getenv("PATH"))
			// The race detector waits a second at the end of a process, for
			// reports that are still being written.
			env.Setenv("GORACE", "atexit_sleep_ms=10")
			env.Values[testKey] = env.T()
			env.Values[programsKey] = programs
			env.Values[processesKey] = map[string]*process{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"eventually": cmdEventually,
			"exits":      cmdExits,
			"expand":     cmdExpand,
			"hangup":     cmdHangup,
			"interrupt":  cmdInterrupt,
			"nats":       cmdNATS,
			"post":       cmdPost,
			"spawn":      cmdSpawn,
			"stored":     cmdStored,
		},
	})
}

// programFolder returns a folder in which this test binary is fanjet.
func programFolder(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	programs := t.TempDir()
	if err := os.Symlink(self, filepath.Join(programs, "fanjet")); err != nil {
		t.Fatal(err)
	}
	return programs
}

// Keys of what belongs to a script.
const (
	testKey      = "test"      // testing.TB
	programsKey  = "programs"  // folder of the fanjet program
	processesKey = "processes" // map[string]*process, by name
)

// cmdExits runs a program that must end with an exit code:
//
//	exits CODE PROGRAM [ARGUMENT...]
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGUMENT...]")
	}
	code := "0"
	if exit, ok := errors.AsType[*exec.ExitError](ts.Exec(args[1], args[2:]...)); ok {
		code = strconv.Itoa(exit.ExitCode())
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

// cmdEventually runs a program, again and again, until it ends with 0 and its
// output matches:
//
//	eventually REGEXP PROGRAM [ARGUMENT...]
func cmdEventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually REGEXP PROGRAM [ARGUMENT...]")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for deadline := time.After(startTimeout); ; {
		if err := ts.Exec(args[1], args[2:]...); err == nil && pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
		select {
		case <-deadline:
			ts.Fatalf("the output never matches %s", args[0])
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// cmdExpand replaces $VARIABLES in a file by their values:
//
//	expand FILE
func cmdExpand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: expand FILE")
	}
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// cmdNATS runs a NATS server until the script ends:
//
//	nats VAR [STREAM SUBJECT...]
//
// VAR becomes its URL. If a stream is named, the server has one.
func cmdNATS(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: nats VAR [STREAM SUBJECT...]")
	}
	server := natstest.Start(ts.Value(testKey).(testing.TB), natstest.Options{Listen: true})
	ts.Setenv(args[0], server.URL())
	if len(args) > 1 {
		ctx := ts.Value(testKey).(testing.TB).Context()
		_, err := server.JetStream().CreateStream(ctx, jetstream.StreamConfig{Name: args[1], Subjects: args[2:]})
		ts.Check(err)
	}
}

// cmdStored prints a message of a stream: subject, headers, an empty line, body.
//
//	stored URL STREAM SEQUENCE
func cmdStored(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: stored URL STREAM SEQUENCE")
	}
	sequence, err := strconv.ParseUint(args[2], 10, 64)
	ts.Check(err)
	nc, err := nats.Connect(args[0])
	ts.Check(err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	ts.Check(err)
	ctx := ts.Value(testKey).(testing.TB).Context()
	stream, err := js.Stream(ctx, args[1])
	ts.Check(err)
	msg, err := stream.GetMsg(ctx, sequence)
	ts.Check(err)
	fmt.Fprintln(ts.Stdout(), msg.Subject)
	for _, name := range slices.Sorted(maps.Keys(msg.Header)) {
		for _, value := range msg.Header[name] {
			fmt.Fprintf(ts.Stdout(), "%s: %s\n", name, value)
		}
	}
	fmt.Fprintf(ts.Stdout(), "\n%s\n", msg.Data)
}

// cmdPost sends a webhook as Fanjet would, and prints the status of the answer:
//
//	post URL SECRET ID BODY
//
// With a secret of "-" it is not signed.
func cmdPost(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: post URL SECRET|- ID BODY")
	}
	url, secret, id, body := args[0], args[1], args[2], args[3]
	ctx := ts.Value(testKey).(testing.TB).Context()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	ts.Check(err)
	now := time.Now()
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
	req.Header.Set("fanjet-subject", "events.test")
	req.Header.Set("fanjet-attempt", "1")
	if secret != "-" {
		signature, err := webhook.Sign(secret, id, now, []byte(body))
		ts.Check(err)
		req.Header.Set("webhook-signature", signature)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	ts.Check(err)
	ts.Check(resp.Body.Close())
	fmt.Fprintln(ts.Stdout(), resp.StatusCode)
}
