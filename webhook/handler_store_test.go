package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"fanjet/webhook"
)

func TestHandlerDropsDuplicates(t *testing.T) {
	t.Parallel()
	calls := 0
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) { calls++; w.WriteHeader(http.StatusNoContent) }, nil)
	r.expect(t, r.send(r.request(t, "msg_1", "a")), http.StatusNoContent, nil)
	r.expect(t, r.send(r.request(t, "msg_1", "a")), http.StatusOK, webhook.ErrDuplicate)
	r.expect(t, r.send(r.request(t, "msg_2", "b")), http.StatusNoContent, nil)
	if calls != 2 {
		t.Errorf("handler called %d times, want 2", calls)
	}
}

func TestHandlerWithoutStoreHandsDuplicatesOn(t *testing.T) {
	t.Parallel()
	calls := 0
	r := newReceiver(t, func(http.ResponseWriter, *http.Request) { calls++ },
		func(o *webhook.HandlerOptions) { o.Store = nil })
	for range 2 {
		r.expect(t, r.send(r.request(t, "msg_1", "a")), http.StatusOK, nil)
	}
	if calls != 2 {
		t.Errorf("handler called %d times, want 2", calls)
	}
}

// What a handler does with the answer decides whether the id may come again.
func TestHandlerOutcome(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		next    http.HandlerFunc
		handled bool
	}{
		"says nothing":        {func(http.ResponseWriter, *http.Request) {}, true},
		"writes a body":       {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }, true},
		"200":                 {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }, true},
		"299":                 {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(299) }, true},
		"302":                 {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }, false},
		"400":                 {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", 400) }, false},
		"503":                 {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, false},
		"early hints, 500":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(500) }, false},
		"early hints, 200":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(200) }, true},
		"body, then too late": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok"); w.WriteHeader(500) }, true},
		"flush, then too late": {func(w http.ResponseWriter, _ *http.Request) {
			if err := http.NewResponseController(w).Flush(); err != nil {
				panic(err)
			}
			w.WriteHeader(500)
		}, true},
		"old flush, then too late": {func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush(); w.WriteHeader(500) }, true},
		"panic":                    {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false},
		"200, then panic":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200); panic(http.ErrAbortHandler) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			r := newReceiver(t, func(w http.ResponseWriter, req *http.Request) {
				calls.Add(1)
				tt.next(w, req)
			}, nil)
			server := r.serve()
			defer server.Close()
			for range 2 {
				// An error is what a panic looks like from outside.
				if res, err := r.post(t, server); err == nil {
					res.Body.Close()
				}
			}
			want := int32(2)
			if tt.handled {
				want = 1
			}
			if got := calls.Load(); got != want {
				t.Errorf("handler called %d times for two deliveries, want %d", got, want)
			}
		})
	}
}

// While a webhook is being handled its duplicates are sent away, not in.
func TestHandlerConcurrentDuplicates(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan int)
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		entered <- struct{}{}
		w.WriteHeader(<-leave)
	}, nil)
	attempt := func(status int) {
		t.Helper()
		req, duplicate := r.request(t, "msg_1", "a"), r.request(t, "msg_1", "a")
		first := make(chan *httptest.ResponseRecorder, 1)
		go func() { first <- r.send(req) }()
		select {
		case <-entered:
		case w := <-first:
			t.Fatalf("status = %d %q, the handler was not called", w.Code, w.Body)
		}
		r.expect(t, r.send(duplicate), http.StatusConflict, webhook.ErrInProgress)
		leave <- status
		r.expect(t, <-first, status, nil)
	}
	attempt(http.StatusInternalServerError) // failed: it comes again
	attempt(http.StatusOK)
	r.expect(t, r.send(r.request(t, "msg_1", "a")), http.StatusOK, webhook.ErrDuplicate)
}

// A sender that gives up waiting does not undo what the handler did.
func TestHandlerSettlesAfterSenderLeft(t *testing.T) {
	t.Parallel()
	store := &fakeStore{}
	ctx, cancel := context.WithCancel(t.Context())
	r := newReceiver(t, func(http.ResponseWriter, *http.Request) { cancel() },
		func(o *webhook.HandlerOptions) { o.Store = store })
	r.expect(t, r.send(r.request(t, "msg_1", "a").WithContext(ctx)), http.StatusOK, nil)
	if store.doneContext != nil || store.handled.Load() != 1 {
		t.Errorf("Done was called with a context that is over (%v), %d handled", store.doneContext, store.handled.Load())
	}
}

func TestHandlerStoreFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("table webhooks: password authentication failed")
	t.Run("at the beginning", func(t *testing.T) {
		t.Parallel()
		called := false
		r := newReceiver(t, func(http.ResponseWriter, *http.Request) { called = true },
			func(o *webhook.HandlerOptions) { o.Store = &fakeStore{beginErr: broken} })
		w := r.send(r.request(t, "msg_1", "a"))
		r.expect(t, w, http.StatusServiceUnavailable, broken)
		if called {
			t.Error("the handler was called although the store could not tell")
		}
		if strings.Contains(w.Body.String(), "password") {
			t.Errorf("the sender was told %q", w.Body)
		}
	})
	t.Run("at the end", func(t *testing.T) {
		t.Parallel()
		r := newReceiver(t, func(http.ResponseWriter, *http.Request) {},
			func(o *webhook.HandlerOptions) { o.Store = &fakeStore{doneErr: broken} })
		r.expect(t, r.send(r.request(t, "msg_1", "a")), http.StatusOK, webhook.ErrStore)
	})
}

// fakeStore fails on demand.
type fakeStore struct {
	beginErr, doneErr error
	doneContext       error // of the context that Done got
	handled           atomic.Int32
}

func (s *fakeStore) Begin(context.Context, string) (webhook.Claim, error) {
	if s.beginErr != nil {
		return nil, s.beginErr
	}
	return s, nil
}

func (s *fakeStore) Done(ctx context.Context, handled bool) error {
	s.doneContext = ctx.Err()
	if handled {
		s.handled.Add(1)
	}
	return s.doneErr
}
