package httpsend

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fanjet/subscriber/outcome"
)

// Codes of errors that say nothing about whether a request was processed.
var vagueCodes = []uint32{
	codeNone, codeProtocol, codeInternal, 0x3 /* flow control */, 0x5 /* stream closed */, 0x6, /* frame size */
	codeCancel, 0x9 /* compression */, 0xa /* connect */, 0xb /* calm */, 0xc /* security */, 0xd /* HTTP/1.1 */, 0xfffffc7a, /* Apache */
}

// Over HTTP/2 only what the protocol says was not processed is sent again: with a
// body and without, over a connection that was used before and over a new one.
func TestWhatIsSentAgain(t *testing.T) {
	t.Parallel()
	again := func(n int, reason string) (out []string) { return slices.Repeat([]string{reason}, n) }
	type scenario struct {
		name   string
		then   func(f *frames, stream uint32) // instead of an answer
		times  int32                          // that it happens; each other request is answered
		class  outcome.Class
		resent []string
	}
	scenarios := []scenario{
		{"refused once", func(f *frames, s uint32) { f.reset(s, codeRefused) }, 1, outcome.Class2xx, again(1, reasonRefused)},
		{"refused three times", func(f *frames, s uint32) { f.reset(s, codeRefused) }, 3, outcome.Class2xx, again(3, reasonRefused)},
		{"refused always", func(f *frames, s uint32) { f.reset(s, codeRefused) }, 1000, outcome.ClassConnect, again(maxResends, reasonRefused)},
		{"farewell", func(f *frames, s uint32) { f.goAway(s-1, codeNone, "") }, 1, outcome.Class2xx, again(1, reasonGoAway)},
		{"farewell, and the end", func(f *frames, s uint32) { f.goAway(s-1, codeNone, ""); _ = f.Close() }, 1, outcome.Class2xx, again(1, reasonGoAway)},
		{"farewell with an error", func(f *frames, s uint32) { f.goAway(s-1, codeInternal, "why"); _ = f.Close() }, 2, outcome.Class2xx, again(2, reasonGoAway)},
		{"farewell in two steps", func(f *frames, s uint32) { f.goAway(1<<31-1, codeNone, ""); f.goAway(s-1, codeNone, "") }, 1, outcome.Class2xx, again(1, reasonGoAway)},
		{"farewell always", func(f *frames, s uint32) { f.goAway(s-1, codeNone, "") }, 1000, outcome.ClassConnect, again(maxResends, reasonGoAway)},
		{"farewell that takes it back", func(f *frames, s uint32) {
			f.goAway(s-1, codeNone, "")
			f.goAway(1<<31-1, codeNone, "") // which must not be (RFC 9113, 6.8)
		}, 1, outcome.Class2xx, again(1, reasonGoAway)},
		{"farewell that includes it, and the answer", func(f *frames, s uint32) { f.goAway(s, codeNone, ""); f.answer(s, head204) }, 1, outcome.Class2xx, nil},
		{"farewell that includes it, and the end", func(f *frames, s uint32) { f.goAway(s, codeNone, ""); _ = f.Close() }, 1, outcome.ClassConnect, nil},
		{"farewell that includes all, and the end", func(f *frames, _ uint32) { f.goAway(1<<31-1, codeNone, ""); _ = f.Close() }, 1, outcome.ClassConnect, nil},
		{"the end", func(f *frames, _ uint32) { _ = f.Close() }, 1, outcome.ClassConnect, nil},
		{"an informational response, and the end", func(f *frames, s uint32) {
			_ = f.write(frameHeaders, flagEndHeaders, s, literal(":status", "103"))
			_ = f.Close()
		}, 1, outcome.ClassConnect, nil},
		{"an informational response, and refused", func(f *frames, s uint32) {
			_ = f.write(frameHeaders, flagEndHeaders, s, literal(":status", "103"))
			f.reset(s, codeRefused)
		}, 1, outcome.ClassConnect, nil},
		{"an informational response, and a farewell", func(f *frames, s uint32) {
			_ = f.write(frameHeaders, flagEndHeaders, s, literal(":status", "103"))
			f.goAway(s-1, codeNone, "")
		}, 1, outcome.ClassConnect, nil},
		{"the head of an answer, and a reset", func(f *frames, s uint32) {
			_ = f.write(frameHeaders, flagEndHeaders, s, head200)
			f.reset(s, codeRefused)
		}, 1, outcome.Class2xx, nil},
		{"refused, and no streams any more", func(f *frames, s uint32) {
			_ = f.write(frameSettings, 0, 0, setting(3, 0))
			f.reset(s, codeRefused)
		}, 2, outcome.Class2xx, again(2, reasonRefused)},
		{"an answer that cannot be read", func(f *frames, s uint32) { f.answer(s, literal(":status", "ok")) }, 1, outcome.ClassConnect, nil},
		{"an answer to another request", func(f *frames, s uint32) { f.answer(s+2, head204) }, 1, outcome.ClassConnect, nil},
	}
	for _, code := range vagueCodes {
		scenarios = append(scenarios, scenario{"reset with " + streamError(code).Error(), func(f *frames, s uint32) { f.reset(s, code) }, 1, outcome.ClassConnect, nil})
	}
	for _, tt := range scenarios {
		for _, body := range []string{"", "{}"} {
			for _, used := range []bool{false, true} {
				name := tt.name + map[string]string{"": "/empty"}[body] + map[bool]string{true: "/used"}[used]
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					var left atomic.Int32
					s, sender := newFrameReceiver(t, nil, func(f *frames) {
						for stream := f.request(); stream != 0; stream = f.request() {
							if left.Add(-1) >= 0 {
								tt.then(f, stream)
							} else {
								f.answer(stream, head204)
							}
						}
					})
					want := 1 + int32(len(tt.resent))
					if used {
						if r := try(t.Context(), sender, []byte(body)); r.Class != outcome.Class2xx {
							t.Fatalf("%+v", r)
						}
						want++
					}
					left.Store(tt.times)
					r := try(t.Context(), sender, []byte(body))
					if r.Class != tt.class || !slices.Equal(r.Resent, tt.resent) {
						t.Errorf("%+v, want %s after %v", r, tt.class, tt.resent)
					}
					if n := s.requests.Load(); n != want {
						t.Errorf("%d requests, want %d", n, want)
					}
				})
			}
		}
	}
}

// A connection on which the receiver takes no streams any more is not used again,
// whether it says so with an answer or while nobody asks; a new one is.
func TestNoStreamsIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		said := make(chan struct{}, 10)
		s, sender := newFrameReceiver(t, nil, func(f *frames) {
			for stream := f.request(); stream != 0; stream = f.request() {
				if late {
					f.answer(stream, head204)
				}
				_ = f.write(frameSettings, 0, 0, setting(3, 0))
				if !late {
					f.answer(stream, head204)
				}
				said <- struct{}{}
			}
		})
		for i := range 4 {
			if r := try(t.Context(), sender, []byte("{}")); r.Class != outcome.Class2xx || len(r.Resent) > 0 {
				t.Fatalf("late %v, attempt %d: %+v", late, i+1, r)
			}
			<-said
		}
		if n, c := s.requests.Load(), s.connections.Load(); n != 4 || c != 4 {
			t.Errorf("late %v: %d requests over %d connections", late, n, c)
		}
	}
}

// A connection on which every stream is refused does not keep a request from a
// receiver that takes it over another one.
func TestRefusalOfOneConnection(t *testing.T) {
	t.Parallel()
	var first atomic.Bool
	_, sender := newFrameReceiver(t, nil, func(f *frames) {
		refuses := first.CompareAndSwap(false, true)
		for i, stream := 0, f.request(); stream != 0; i, stream = i+1, f.request() {
			if refuses && i > 0 {
				f.reset(stream, codeRefused)
			} else {
				f.answer(stream, head204)
			}
		}
	})
	for i, want := range [][]string{nil, {reasonRefused, reasonRefused}} {
		if r := try(t.Context(), sender, nil); r.Class != outcome.Class2xx || !slices.Equal(r.Resent, want) {
			t.Errorf("attempt %d: %+v, want %v", i+1, r, want)
		}
	}
}

// A request that could not be written in its time is a timeout, as any other.
func TestWhatIsNotTakenInTimeIsATimeout(t *testing.T) {
	t.Parallel()
	for _, err := range []error{os.ErrDeadlineExceeded, &net.OpError{Op: "write", Err: os.ErrDeadlineExceeded}} {
		x := newExchange()
		x.Context = t.Context()
		x.limit(time.Now().Add(-time.Second))
		if got := x.reason(&url.Error{Op: "Post", Err: &notTaken{err: err}}); !errors.Is(got, outcome.ErrTimeout) {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// Over HTTP/1.1 there is one retry, over a new connection, and it is told.
func TestResendOverHTTP1IsTold(t *testing.T) {
	t.Parallel()
	s := newRawReceiver(t, func(r *rawReceiver, c net.Conn) {
		for b := bufio.NewReader(c); r.read(b) != nil; {
			if r.requests.Load() == 2 {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 204 x\r\n\r\n")
		}
	})
	sender := testSender(t, s.url(), loopback)
	for i, want := range [][]string{nil, {reasonClosed}, nil} {
		if r := try(t.Context(), sender, []byte("{}")); r.Class != outcome.Class2xx || !slices.Equal(r.Resent, want) {
			t.Errorf("attempt %d: %+v, want %v", i+1, r, want)
		}
	}
}

// Receivers that take leave of each connection after a few requests, and of all of
// them when they are reloaded, cost no attempt, and get nothing twice. They do it
// as real ones: nginx looks at nothing that comes after its farewell, Apache breaks
// whatever is under way when a request crosses it.
func TestReceiverTakesLeave(t *testing.T) {
	t.Parallel()
	const atOnce, each, perConnection = 32, 40, 10
	for _, breaks := range []bool{false, true} {
		t.Run(map[bool]string{false: "as nginx", true: "as Apache"}[breaks], func(t *testing.T) {
			t.Parallel()
			var answered atomic.Int32
			s, sender := newFrameReceiver(t, nil, func(f *frames) {
				last := uint32(0)
				for stream := f.request(); stream != 0; stream = f.request() {
					if last >= 2*perConnection-1 {
						if breaks {
							return
						}
						continue
					}
					answered.Add(1)
					last = stream
					f.answer(stream, head204)
					if last == 2*perConnection-1 {
						f.goAway(last, codeNone, "")
					}
				}
			}, func(o *Options) { o.Slots = atOnce })
			var attempts sync.WaitGroup
			for range atOnce {
				attempts.Go(func() {
					for i := range each {
						if r := try(t.Context(), sender, []byte(strings.Repeat("x", i%2))); r.Class != outcome.Class2xx {
							t.Errorf("%+v", r)
						}
					}
				})
			}
			attempts.Wait()
			if n := answered.Load(); n != atOnce*each {
				t.Errorf("%d were answered, want %d", n, atOnce*each)
			}
			if n := s.connections.Load(); n < atOnce*each/perConnection {
				t.Errorf("%d connections", n)
			}
		})
	}
}
