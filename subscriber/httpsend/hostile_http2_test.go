package httpsend

import (
	"io"
	"strings"
	"testing"
	"time"

	"fanjet/subscriber/outcome"
)

// Each receiver gets two attempts, so that the second one is made over a
// connection that was used before, if there is one.
func TestHostileHTTP2(t *testing.T) {
	t.Parallel()
	each := func(serve func(f *frames, stream uint32)) func(*frames) {
		return func(f *frames) {
			for stream := f.request(); stream != 0; stream = f.request() {
				serve(f, stream)
			}
		}
	}
	// first answers the first request of the receiver as it should be.
	first := func(serve func(f *frames, stream uint32)) func(*frames) {
		return each(func(f *frames, stream uint32) {
			if f.of.requests.Load() == 1 {
				f.answer(stream, head204)
			} else {
				serve(f, stream)
			}
		})
	}
	type want struct {
		class       outcome.Class
		status      int
		requests    int32
		connections int32
	}
	for _, tt := range []struct {
		name     string
		settings []byte
		serve    func(*frames)
		first    outcome.Class // of the first attempt
		want                   // of the second one, and in all
	}{
		// What was not looked at is sent again, and not without end.
		{
			"goes away before the answer", nil, each(func(f *frames, _ uint32) { f.goAway(0, codeNone, ""); _ = f.Close() }),
			outcome.ClassConnect,
			want{outcome.ClassConnect, 0, 2 * (1 + maxResends), 2 * (1 + maxResends)},
		},
		{"goes away when used again", nil, each(func(f *frames, stream uint32) {
			if f.of.requests.Load() == 2 {
				f.goAway(1, codeNone, "")
				return
			}
			f.answer(stream, head204)
		}), outcome.Class2xx, want{outcome.Class2xx, 204, 3, 2}},
		{"goes away in the middle of a response", nil, each(func(f *frames, stream uint32) {
			_ = f.write(frameHeaders, flagEndHeaders, stream, head200)
			_ = f.write(frameData, 0, stream, []byte("half"))
			f.goAway(stream, codeInternal, "x")
			_ = f.Close()
		}), outcome.Class2xx, want{outcome.Class2xx, 200, 2, 2}},
		{"resets the stream", nil, first(func(f *frames, stream uint32) { f.reset(stream, codeInternal) }), outcome.Class2xx, want{outcome.ClassConnect, 0, 2, 1}},
		{"cancels the stream", nil, first(func(f *frames, stream uint32) { f.reset(stream, codeCancel) }), outcome.Class2xx, want{outcome.ClassConnect, 0, 2, 1}},
		{"resets the stream after the head", nil, first(func(f *frames, stream uint32) {
			_ = f.write(frameHeaders, flagEndHeaders, stream, head200)
			f.reset(stream, codeInternal)
		}), outcome.Class2xx, want{outcome.Class2xx, 200, 2, 1}},
		{"refuses every stream", nil, each(func(f *frames, stream uint32) { f.reset(stream, codeRefused) }), outcome.ClassConnect, want{outcome.ClassConnect, 0, 2 * (1 + maxResends), 3}},
		{"finds fault with every stream", nil, each(func(f *frames, stream uint32) { f.reset(stream, codeProtocol) }), outcome.ClassConnect, want{outcome.ClassConnect, 0, 2, 2}},
		{"hangs up", nil, first(func(f *frames, _ uint32) { _ = f.Close() }), outcome.Class2xx, want{outcome.ClassConnect, 0, 2, 1}},
		{"never ends its header", nil, each(func(f *frames, stream uint32) {
			field := literal("x", strings.Repeat("y", 1000))
			err := f.write(frameHeaders, 0, stream, head200)
			for err == nil {
				err = f.write(frameContinuation, 0, stream, field)
			}
		}), outcome.ClassConnect, want{outcome.ClassConnect, 0, 2, 2}},
		{"sends 1 MiB of header", nil, each(func(f *frames, stream uint32) {
			_ = f.write(frameHeaders, 0, stream, head200)
			for range 63 {
				_ = f.write(frameContinuation, 0, stream, literal("x", strings.Repeat("y", 16_000)))
			}
			_ = f.write(frameContinuation, flagEndHeaders, stream, nil)
		}), outcome.ClassConnect, want{outcome.ClassConnect, 0, 2, 2}},
		{"sends informational responses only", nil, each(func(f *frames, stream uint32) {
			for range 1000 {
				_ = f.write(frameHeaders, flagEndHeaders, stream, append(literal(":status", "103"), literal("x", strings.Repeat("y", 1000))...))
			}
		}), outcome.ClassConnect, want{outcome.ClassConnect, 0, 2, 2}},
		{
			"speaks HTTP/1.1 after all", nil, func(f *frames) { _, _ = io.WriteString(f, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") },
			outcome.ClassConnect,
			want{outcome.ClassConnect, 0, 0, 2},
		},
		{"sends settings and pings without end", nil, each(func(f *frames, stream uint32) {
			for range 1000 {
				_ = f.write(frameSettings, 0, 0, setting(4, 1<<20))
				_ = f.write(framePing, 0, 0, make([]byte, 8))
				_ = f.write(frameWindow, 0, 0, []byte{0, 0, 0, 1})
			}
			f.answer(stream, head204)
		}), outcome.Class2xx, want{outcome.Class2xx, 204, 2, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, sender := newFrameReceiver(t, tt.settings, tt.serve)
			if r := try(t.Context(), sender, []byte("{}")); r.Class != tt.first {
				t.Errorf("first: %+v", r)
			}
			if r := try(t.Context(), sender, []byte("{}")); r.Class != tt.class || r.Status != tt.status {
				t.Errorf("%+v", r)
			}
			if n, c := s.requests.Load(), s.connections.Load(); n != tt.requests || c != tt.connections {
				t.Errorf("%d requests over %d connections", n, c)
			}
		})
	}
}

// A receiver that lets nothing through is a timeout.
func TestHTTP2WithoutProgress(t *testing.T) {
	t.Parallel()
	swallow := func(f *frames) {
		for ended := false; !ended; ended = f.request() == 0 {
			continue
		}
	}
	for name, tt := range map[string]struct {
		settings []byte
		serve    func(*frames)
	}{
		"window of nothing":  {setting(4, 0), swallow},
		"no streams at once": {setting(3, 0), swallow},
		"no answer":          {nil, swallow},
		"settings that nobody takes back": {nil, func(f *frames) {
			var err error
			for err == nil { // and nothing is read
				err = f.write(frameSettings, 0, 0, nil)
			}
		}},
		"an answer for ever begun": {nil, func(f *frames) {
			stream := f.request()
			_ = f.write(frameHeaders, 0, stream, head200)
			swallow(f)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, sender := newFrameReceiver(t, tt.settings, tt.serve, func(o *Options) { o.Timeout = 200 * time.Millisecond })
			for range 2 {
				if r := try(t.Context(), sender, []byte("{}")); r.Class != outcome.ClassTimeout || r.Failure() != "timeout: no response in time" {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

// What a response of HTTP/2 can make us keep is bounded by the window that we
// give: the receiver counts what it may send of an endless body.
func TestEndlessBodyOverHTTP2(t *testing.T) {
	t.Parallel()
	sent, ended := 0, make(chan struct{})
	_, sender := newFrameReceiver(t, nil, func(f *frames) {
		defer close(ended)
		stream := f.request()
		_ = f.write(frameHeaders, flagEndHeaders, stream, head200)
		window := int(f.window)
		for {
			for ; window > 0; window -= min(window, 16<<10) {
				if f.write(frameData, 0, stream, make([]byte, min(window, 16<<10))) != nil {
					return
				}
				sent += min(window, 16<<10)
			}
			in, err := f.read()
			switch {
			case err != nil, in.kind == frameReset && in.stream == stream:
				return
			case in.kind == frameWindow && in.stream == stream:
				window += int(in.payload[0])<<24 | int(in.payload[1])<<16 | int(in.payload[2])<<8 | int(in.payload[3])
			}
		}
	})
	if r := try(t.Context(), sender, []byte("{}")); r.Class != outcome.Class2xx {
		t.Errorf("%+v", r)
	}
	<-ended
	if sent < maxResponseBody || sent > 2*maxResponseBody {
		t.Errorf("it could send %d bytes", sent)
	}
}
