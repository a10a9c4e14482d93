package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// setLimit sets what a process that runs may use, within what it was started
// with. No rights are needed for that.
func setLimit(t *testing.T, pid, resource int, limit uint64) {
	t.Helper()
	var now syscall.Rlimit
	prlimit := func(to, from *syscall.Rlimit) {
		t.Helper()
		_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), uintptr(resource),
			uintptr(unsafe.Pointer(to)), uintptr(unsafe.Pointer(from)), 0, 0)
		if errno != 0 {
			t.Fatalf("prlimit: %v", errno)
		}
	}
	prlimit(nil, &now)
	now.Cur = min(limit, now.Max)
	prlimit(&now, nil)
}

// picky answers 500 to the first attempt of what is marked so, and counts.
type picky struct {
	*httptest.Server
	mu       sync.Mutex
	requests map[string]int    // by body
	accepted map[string]string // with which attempt, by body
}

func newPicky(t *testing.T) *picky {
	t.Helper()
	p := &picky{requests: map[string]int{}, accepted: map[string]string{}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.requests[string(body)]++
		attempt := r.Header.Get("Fanjet-Attempt")
		if attempt == "1" && strings.HasPrefix(string(body), "late") {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		p.accepted[string(body)] = attempt
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *picky) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.accepted)
}

// The disk of the embedded server is full, or there are no descriptors, for a
// while in which retries come due and producers publish. The gateway is not ready
// with that reason, and when it has passed everything is delivered, by the same
// process, with no attempt more than there would have been.
func TestStoreErrorPasses(t *testing.T) {
	t.Parallel()
	const waiting = 20
	for name, fault := range map[string]struct {
		resource int
		limit    uint64
		says     string
	}{
		// No file may grow: as on a full disk, every write fails.
		"disk":        {syscall.RLIMIT_FSIZE, 4 << 10, "make room"},
		"descriptors": {syscall.RLIMIT_NOFILE, 3, "open files"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hook := newPicky(t)
			p := newGatewayProcess(t, hook.Listener.Addr().String(), `
endpoints: {dev: {url: "http://HOOK/dev", retry: {schedule: [8s, 1h], jitter: 0}, circuit: {failures: 0}}}
subscriptions: [{name: all, subjects: ["events.>"], endpoints: [dev]}]
`)
			p.start()
			// Both are there before there are no descriptors left for new ones.
			admin := &http.Client{Timeout: 5 * time.Second}
			ready := func() string {
				resp, err := admin.Get(p.admin + "/readyz")
				if err != nil {
					return err.Error()
				}
				defer resp.Body.Close()
				text, err := io.ReadAll(resp.Body)
				if err != nil {
					return err.Error()
				}
				return fmt.Sprint(resp.StatusCode, " ", string(text))
			}
			if got := ready(); !strings.HasPrefix(got, "200") {
				t.Fatal(got)
			}
			nc, err := nats.Connect(p.url, nats.MaxReconnects(-1))
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			js, err := jetstream.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			stored := 0
			publish := func(what string, size int) error {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				_, err := js.Publish(ctx, "events.x", fmt.Appendf(nil, "%s %d %s", what, stored, strings.Repeat("x", size)))
				if err == nil {
					stored++
				}
				return err
			}
			for range waiting {
				if err := publish("late", 10); err != nil {
					t.Fatal(err)
				}
			}
			waitUntil(t, "all were attempted", func() bool {
				hook.mu.Lock()
				defer hook.mu.Unlock()
				return len(hook.requests) == waiting
			})
			waitUntil(t, "all retries wait", func() bool { return p.metric("fanjet_retries_pending") == fmt.Sprint(waiting) })

			before := time.Now()
			setLimit(t, p.cmd.Process.Pid, fault.resource, fault.limit)
			waitUntil(t, "it is not ready", func() bool {
				_ = publish("once", 8<<10) // until that fails; the event may be stored or not
				got := ready()
				return strings.HasPrefix(got, "503") && strings.Contains(got, "cannot store") && strings.Contains(got, fault.says)
			})
			waitUntil(t, "retries are due", func() bool { return time.Since(before) > 9*time.Second })
			setLimit(t, p.cmd.Process.Pid, fault.resource, 1<<40)

			waitUntil(t, "it is ready", func() bool { return strings.HasPrefix(ready(), "200") })
			waitUntil(t, "a producer can publish", func() bool { return publish("once", 10) == nil })
			waitUntil(t, "all were delivered", func() bool { return hook.count() >= stored })
			waitUntil(t, "no retry waits", func() bool { return p.metric("fanjet_retries_pending") == "0" })
			hook.mu.Lock()
			defer hook.mu.Unlock()
			for body, attempt := range hook.accepted {
				want := "1"
				if strings.HasPrefix(body, "late") {
					want = "2"
				}
				if attempt != want {
					t.Errorf("%.20q was delivered with attempt %s, not %s", body, attempt, want)
				}
			}
			p.terminate()
		})
	}
}
