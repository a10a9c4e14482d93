package httpsend

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/quiet"

	"golang.org/x/net/http2/hpack"
)

// What comes over a connection of HTTP/2 while it is idle is read before it is used
// again: what belongs to it is answered, and what no request asked for is no answer.
func TestIdleConnectionOfHTTP2(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		idle        func(f *frames)
		connections int32
		pong        bool
	}{
		{"a ping", func(f *frames) { _ = f.write(framePing, 0, 0, []byte("12345678")) }, 1, true},
		{"settings", func(f *frames) { _ = f.write(frameSettings, 0, 0, setting(4, 1000)) }, 1, false},
		{"a window", func(f *frames) { _ = f.write(frameWindow, 0, 0, []byte{0, 0, 1, 0}) }, 1, false},
		{"a reset of what is over", func(f *frames) { f.reset(1, codeNone) }, 1, false},
		{"a farewell", func(f *frames) { f.goAway(1, codeNone, "") }, 2, false},
		{"a farewell in two steps", func(f *frames) { f.goAway(1<<31-1, codeNone, "") }, 2, false},
		{"a farewell, and the end", func(f *frames) { f.goAway(1, codeNone, ""); _ = f.Close() }, 2, false},
		{"the end", func(f *frames) { _ = f.Close() }, 2, false},
		{"half a frame", func(f *frames) { _, _ = f.Write([]byte{0, 0, 8, framePing}) }, 2, false},
		{"the answer to the next request", func(f *frames) { f.answer(3, head200) }, 2, false},
		{"another answer to the latest", func(f *frames) { f.answer(1, head200) }, 2, false},
		{"more of the latest answer", func(f *frames) { _ = f.write(frameData, 0, 1, []byte("x")) }, 2, false},
		{"a reset of the next request", func(f *frames) { f.reset(3, codeRefused) }, 2, false},
		{"a window for the next request", func(f *frames) { _ = f.write(frameWindow, 0, 3, []byte{0, 0, 1, 0}) }, 2, false},
		{"a promise", func(f *frames) { _ = f.write(0x5, flagEndHeaders, 1, []byte{0, 0, 0, 2, 0x82}) }, 2, false},
		{"no HTTP/2", func(f *frames) { _, _ = io.WriteString(f, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") }, 2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			idle, ponged := make(chan struct{}), make(chan struct{})
			s, sender := newFrameReceiver(t, nil, func(f *frames) {
				first := f.of.connections.Load() == 1
				f.answer(f.request(), head204)
				if first {
					<-idle
					tt.idle(f)
				}
				for {
					in, err := f.read()
					switch {
					case err != nil:
						return
					case in.kind == framePing && in.flags == flagAck && string(in.payload) == "12345678":
						close(ponged)
					case in.kind == frameHeaders && in.flags&flagEndStream != 0:
						f.of.requests.Add(1)
						f.answer(in.stream, head204)
					}
				}
			})
			if r := try(t.Context(), sender, nil); r.Status != 204 {
				t.Fatalf("%+v", r)
			}
			close(idle)
			sender.transport.idle.awaitBytes(t)
			if r := try(t.Context(), sender, nil); r.Status != 204 || r.Resent != nil {
				t.Errorf("%+v", r)
			}
			if n, c := s.requests.Load(), s.connections.Load(); n != 2 || c != tt.connections {
				t.Errorf("%d requests over %d connections, want 2 over %d", n, c, tt.connections)
			}
			if tt.pong {
				<-ponged
			}
		})
	}
}

// A body larger than the receiver's windows goes as they are opened, also when that
// is by a change of its settings, and no further.
func TestBodyKeepsToTheWindows(t *testing.T) {
	t.Parallel()
	window := func(f *frames, stream uint32, n int) {
		_ = f.write(frameWindow, 0, stream, binary.BigEndian.AppendUint32(nil, uint32(n)))
	}
	body := bytes.Repeat([]byte("0123456789"), 20_000)
	for _, tt := range []struct {
		name     string
		settings []byte
		step     int // by which a stream is opened after each piece
		changed  bool
	}{
		{"windows", nil, 7777, false},
		{"one large window", nil, 1 << 20, false},
		{"settings", nil, 7777, true},
		{"a small window to begin with", setting(4, 100), 20_000, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, sender := newFrameReceiver(t, tt.settings, func(f *frames) {
				var got []byte
				initial, stream := 1<<16-1, uint32(0) // what it may send before it knows the settings
				may, conn := initial, 1<<16-1
				for {
					in, err := f.read()
					if err != nil {
						return
					}
					switch in.kind {
					case frameHeaders:
						stream = in.stream
						window(f, 0, 1<<20)
						conn += 1 << 20
					case frameData:
						got, may, conn = append(got, in.payload...), may-len(in.payload), conn-len(in.payload)
						if may < 0 || conn < 0 {
							t.Errorf("%d, %d bytes too much", -may, -conn)
						}
						if in.flags&flagEndStream != 0 {
							if !bytes.Equal(got, body) {
								t.Errorf("%d bytes", len(got))
							}
							f.answer(stream, head204)
							return
						}
						may += tt.step
						if tt.changed {
							initial += tt.step
							_ = f.write(frameSettings, 0, 0, setting(4, uint32(initial)))
						} else {
							window(f, stream, tt.step)
						}
					}
				}
			})
			if r := try(t.Context(), sender, body); r.Status != 204 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// Any request in HPACK says the same as in HTTP/1.1.
func FuzzHPACK(f *testing.F) {
	f.Add("Webhook-Id", "msg_1", 300)
	f.Add("X", strings.Repeat("y", 127), 16<<10)
	f.Add("x-long", strings.Repeat("z", 1000), 127)
	f.Fuzz(func(t *testing.T, name, value string, length int) {
		if endpoint.CheckHeader(name, value) != nil {
			return
		}
		target := &url.URL{Scheme: "https", Host: "example.com", Path: "/hook/" + strings.Repeat("p", max(0, min(length, 20_000)))}
		p, err := newPreamble(target, http.Header{name: {value}}, "Fanjet/1")
		if err != nil {
			return
		}
		x := newExchange()
		x.preamble, x.body = &p, []byte("{}")
		x.Set("Webhook-Id", " msg_1 ")
		s := &http2State{mayGoConn: 1 << 20, mayGoFirst: 1 << 20, id: 5}
		var block, data []byte
		for b := x.appendStream(nil, s); len(b) > 0; {
			n := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
			if stream := binary.BigEndian.Uint32(b[5:]); stream != 7 || n > maxFrame {
				t.Fatalf("a frame of %d bytes on the stream %d", n, stream)
			}
			if b[3] == frameData {
				data = append(data, b[frameHead:frameHead+n]...)
			} else {
				block = append(block, b[frameHead:frameHead+n]...)
			}
			b = b[frameHead+n:]
		}
		fields, err := hpack.NewDecoder(0, nil).DecodeFull(block)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, f := range fields {
			got[f.Name] = f.Value
			if f.Name[0] != ':' && !f.Sensitive {
				t.Errorf("%s may be indexed", f.Name)
			}
		}
		want := map[string]string{
			":method": "POST", ":scheme": "https", ":authority": "example.com", ":path": target.RequestURI(), "user-agent": "Fanjet/1",
			"webhook-id": "msg_1", "content-length": "2", strings.ToLower(name): value,
		}
		if !maps.Equal(got, want) || string(data) != "{}" {
			t.Errorf("%q, %q, want %q", got, data, want)
		}
	})
}

// FuzzHTTP2Response has an attempt read whatever a receiver may send in HTTP/2. It
// comes to an end, with bounded memory; and a connection that is kept has nothing on
// it that could pass for the answer to the next delivery.
func FuzzHTTP2Response(f *testing.F) {
	frame := func(kind, flags byte, stream uint32, payload string) string {
		b := binary.BigEndian.AppendUint32([]byte{0, 0, byte(len(payload)), kind, flags}, stream)
		return string(b) + payload
	}
	settings := frame(frameSettings, 0, 0, "")
	for _, text := range []string{
		settings + frame(frameHeaders, flagEndHeaders|flagEndStream, 1, string(head204)),
		settings + frame(frameHeaders, flagEndHeaders, 1, string(head200)) + frame(frameData, flagEndStream, 1, "ok"),
		settings + frame(frameHeaders, flagEndHeaders, 1, string(head200)) + frame(frameData, 0, 1, "ok") + frame(frameHeaders, flagEndHeaders|flagEndStream, 1, string(literal("x", "y"))),
		settings + frame(frameReset, 0, 1, "\x00\x00\x00\x07"),
		settings + frame(frameGoAway, 0, 0, strings.Repeat("\x00", 8)),
		frame(frameSettings, 0, 0, string(setting(4, 1))) + frame(framePing, 0, 0, "12345678") + frame(frameWindow, 0, 1, "\x00\x00\x00\x09"),
		"HTTP/1.1 200 OK\r\n\r\n",
	} {
		f.Add([]byte(text), uint8(255), uint16(2))
	}
	f.Fuzz(func(t *testing.T, text []byte, piece uint8, length uint16) {
		s := &scripted{piece: 1 + int(piece)}
		s.text.Reset(text)
		x := newExchange()
		x.Context, x.preamble, x.deadline = context.Background(), new(preamble), time.Now().Add(time.Hour)
		x.body = make([]byte, length)
		x.idle = &idleConns{max: 1, timeout: time.Hour}
		defer x.idle.close()
		c := newConn(beneathTLS{s})
		c.http2 = newHTTP2State(c)
		resp, err := x.send(c)
		if err == nil {
			if resp.StatusCode < 200 || resp.StatusCode > 999 {
				t.Errorf("status %d", resp.StatusCode)
			}
			n, _ := io.Copy(io.Discard, io.LimitReader(resp.Body, 2*maxResponseBody))
			if n > maxResponseBody {
				t.Errorf("a body of %d bytes", n)
			}
			_ = resp.Body.Close()
		}
		if x.conn != nil {
			t.Error("the exchange still holds its connection")
		}
		kept := x.idle.pop()
		if kept == nil != s.closed {
			t.Errorf("kept %v, closed %v", kept != nil, s.closed)
		}
		if kept == nil {
			return
		}
		if h := kept.http2; h.open || h.leaving || h.broken || !slices.Equal(h.data, nil) {
			t.Errorf("the connection is kept: %+v", h)
		}
		_ = kept.Close()
	})
}

// beneathTLS is a connection as if it spoke TLS, with nothing of a record in what is
// read.
type beneathTLS struct{ net.Conn }

func (c beneathTLS) NetConn() net.Conn { return &quiet.RecordConn{Conn: c.Conn} }
