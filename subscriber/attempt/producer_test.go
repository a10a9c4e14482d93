package attempt

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/httpsend"
	"fanjet/subscriber/outcome"

	"github.com/nats-io/nats.go"
)

const testParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// zipped is some JSON, compressed.
func zipped(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(`{"a": 1}`)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What a producer says about its event gets to the receiver, however the names
// are spelt, and the same over both protocols.
func TestProducersHeaders(t *testing.T) {
	t.Parallel()
	zip := string(zipped(t))
	for _, tt := range []struct {
		name   string
		header nats.Header
		body   string
		want   string // Content-Type | Content-Encoding | traceparent | tracestate
	}{
		{"JSON", nil, `{"a":1}`, "application/json|||"},
		{"JSON with space", nil, " [1]\n", "application/json|||"},
		{"a JSON string", nil, `"text"`, "application/json|||"},
		{"half of JSON", nil, `{"a":1`, "application/octet-stream|||"},
		{"bytes", nil, "\x00\x01", "application/octet-stream|||"},
		{"nothing", nil, "", "|||"},
		{"nothing, of a type", nats.Header{"content-type": {"text/plain"}}, "", "text/plain|||"},
		{"nothing, of no type", nats.Header{"content-type": {"text"}}, "", "|||"},
		{"nothing, compressed", nats.Header{"Content-Encoding": {"gzip"}}, "", "|||"},
		{"as canonical", nats.Header{"Content-Type": {"a/b"}, "Traceparent": {testParent}, "Tracestate": {"k=v"}}, `{}`, "a/b||" + testParent + "|k=v"},
		{"in lower case", nats.Header{"content-type": {"a/b"}, "traceparent": {testParent}, "tracestate": {"k=v"}}, `{}`, "a/b||" + testParent + "|k=v"},
		{"in upper case", nats.Header{"CONTENT-TYPE": {"a/b"}, "TRACEPARENT": {testParent}, "TRACESTATE": {"k=v"}, "CONTENT-ENCODING": {"br"}}, `{}`, "a/b|br|" + testParent + "|k=v"},
		{"mixed", nats.Header{"Content-type": {"a/b"}, "traceParent": {testParent}, "TraceState": {"k=v"}, "content-Encoding": {"zstd"}}, `{}`, "a/b|zstd|" + testParent + "|k=v"},
		{"twins", nats.Header{"content-type": {"a/low"}, "CONTENT-TYPE": {"a/high"}, "Content-Type": {"a/b"}}, `{}`, "a/b|||"},
		{"twins of others", nats.Header{"content-type": {"a/low"}, "CONTENT-TYPE": {"a/high"}, "Content-type": {"a/b"}}, `{}`, "a/high|||"},
		{"an empty twin", nats.Header{"content-type": {"a/b"}, "Content-Type": {""}}, `{}`, "a/b|||"},
		{"two values", nats.Header{"Content-Type": {"a/b", "c/d"}}, `{}`, "a/b|||"},
		{"baggage", nats.Header{"baggage": {"k=v"}, "Baggage": {"k=v"}, "traceparent": {testParent}}, `{}`, "application/json||" + testParent + "|"},

		{"control character", nats.Header{"Content-Type": {"a/b\x01"}}, `{}`, "application/json|||"},
		{"more than a type", nats.Header{"Content-Type": {"a/b X-Injected: 1"}}, `{}`, "application/json|||"},
		{"half a type", nats.Header{"Content-Type": {"a/"}}, `{}`, "application/json|||"},
		{"a long type", nats.Header{"Content-Type": {"a/b;" + strings.Repeat("x", maxContentType)}}, `{}`, "application/json|||"},
		{"parameters", nats.Header{"Content-Type": {"a/b+c ; d=e"}}, `{}`, "a/b+c ; d=e|||"},

		{"compressed JSON", nats.Header{"Content-Encoding": {"gzip"}, "Content-Type": {"application/json"}}, zip, "application/json|gzip||"},
		{"compressed, of no type", nats.Header{"content-encoding": {"gzip"}}, zip, "application/octet-stream|gzip||"},
		{"what is encoded looks like nothing", nats.Header{"content-encoding": {"x-odd"}}, "12", "application/octet-stream|x-odd||"},
		{"two codings", nats.Header{"Content-Encoding": {"br", "gzip"}}, zip, "application/octet-stream|br, gzip||"},
		{"codings in a line", nats.Header{"Content-Encoding": {" br ,, gzip\t"}}, zip, "application/octet-stream|br, gzip||"},
		{"identity", nats.Header{"Content-Encoding": {"Identity"}}, `{}`, "application/json|||"},
		{"identity and more", nats.Header{"Content-Encoding": {"gzip, identity"}}, zip, "application/octet-stream|gzip||"},
		{"no coding", nats.Header{"Content-Encoding": {"gzip;q=1"}}, `{}`, "application/json|||"},
		{"an injected coding", nats.Header{"Content-Encoding": {"gzip\r\nX-Evil: 1"}}, `{}`, "application/json|||"},
		{"a long coding", nats.Header{"Content-Encoding": {strings.Repeat("x", maxContentEncoding+1)}}, `{}`, "application/json|||"},
		{"many codings", nats.Header{"Content-Encoding": {strings.Repeat("gzip,", 100)}}, `{}`, "application/json|||"},

		{"state without a parent", nats.Header{"tracestate": {"k=v"}}, `{}`, "application/json|||"},
		{"state of a wrong parent", nats.Header{"traceparent": {"00-x"}, "tracestate": {"k=v"}}, `{}`, "application/json|||"},
		{"a wrong state", nats.Header{"traceparent": {testParent}, "tracestate": {"k=v\r\nX-Evil: 1"}}, `{}`, "application/json||" + testParent + "|"},
		{"two states", nats.Header{"traceparent": {testParent}, "tracestate": {"a=1", "b=2 , c=3"}}, `{}`, "application/json||" + testParent + "|a=1,b=2,c=3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, http2 := range []bool{false, true} {
				got := make(chan *http.Request, 1)
				s, roots, _ := secureReceiver(t, http2, func(_ http.ResponseWriter, r *http.Request) {
					if body, _ := io.ReadAll(r.Body); string(body) != tt.body {
						t.Errorf("the body %q", body)
					}
					got <- r
				})
				ep := testEndpoint(t, s.URL, loopback, func(e *endpoint.Settings) { e.Headers = http.Header{"X-Team": {"pay"}} })
				trust(t, ep, loopback, roots)
				if r := try(t.Context(), ep, tt.header, []byte(tt.body)); r.Class != outcome.Class2xx {
					t.Fatalf("%+v", r)
				}
				r := <-got
				var values []string
				for _, name := range []string{"Content-Type", "Content-Encoding", "Traceparent", "Tracestate"} {
					values = append(values, strings.Join(r.Header.Values(name), " AND "))
				}
				if text := strings.Join(values, "|"); text != tt.want {
					t.Errorf("%s: %s, want %s", r.Proto, text, tt.want)
				}
				for _, name := range []string{"Baggage", "X-Evil", "X-Injected"} {
					if r.Header.Get(name) != "" {
						t.Errorf("%s: %s", r.Proto, name)
					}
				}
			}
		})
	}
}

func TestTraceparent(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		testParent:                  true,
		"cc" + testParent[2:]:       true, // of a later version
		"ff" + testParent[2:]:       false,
		testParent + "-more":        false,
		testParent[:54]:             false,
		"":                          false,
		strings.ToUpper(testParent): false,
		"00-00000000000000000000000000000000-b7ad6b7169203331-01": false,
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01": false,
		"00-0af7651916cd43dd8448eb211c80319cxb7ad6b7169203331-01": false,
	} {
		if got := validTraceparent(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestTraceState(t *testing.T) {
	t.Parallel()
	long := func(key string, n int) string { return key + "=" + strings.Repeat("v", n-len(key)-1) }
	many := func(n int) string {
		var members []string
		for i := range n {
			members = append(members, string(rune('a'+i/26))+string(rune('a'+i%26))+"=1")
		}
		return strings.Join(members, ",")
	}
	for _, tt := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"none", nil, ""},
		{"empty", []string{""}, ""},
		{"one", []string{"congo=t61rcWkgMzE"}, "congo=t61rcWkgMzE"},
		{"two with space", []string{"rojo=00f067aa0ba902b7, congo=t61 rcW"}, "rojo=00f067aa0ba902b7, congo=t61 rcW"},
		{"a tenant", []string{"1a-2@nr=0-0-1,fw_/*=x"}, "1a-2@nr=0-0-1,fw_/*=x"},
		{"empty members", []string{",a=1,,b=2, "}, "a=1,b=2"},
		{"lines", []string{"a=1", "", "b=2,c=3"}, "a=1,b=2,c=3"},
		{"a key again", []string{"a=1,b=2,a=3"}, "a=1,b=2"},
		{"space around", []string{" a=1\t"}, "a=1"},
		{"32", []string{many(32)}, many(32)},
		{"33", []string{many(33)}, ""},
		{"33 over lines", []string{many(32), "zz=1"}, ""},

		{"no value", []string{"a=1,b"}, ""},
		{"an empty value", []string{"a="}, ""},
		{"two values", []string{"a=b=c"}, ""},
		{"an upper case key", []string{"A=1"}, ""},
		{"a digit first", []string{"1a=1"}, ""},
		{"no system", []string{"a@=1"}, ""},
		{"no tenant", []string{"@a=1"}, ""},
		{"two systems", []string{"a@b@c=1"}, ""},
		{"a long system", []string{"a@abcdefghijklmno=1"}, ""},
		{"a long key", []string{strings.Repeat("a", 257) + "=1"}, ""},
		{"a long value", []string{"a=" + strings.Repeat("v", 257)}, ""},
		{"space before the sign", []string{"a =1"}, ""},
		{"control character", []string{"a=1\x7f"}, ""},
		{"other letters", []string{"a=ü"}, ""},

		{"512 bytes", []string{long("a", 255) + "," + long("b", 256)}, long("a", 255) + "," + long("b", 256)},
		// Long ones go first, then the last.
		{"a long one too many", []string{long("a", 200) + "," + long("b", 100) + "," + long("c", 213)}, long("a", 200) + "," + long("b", 100)},
		{"short ones too many", []string{long("a", 128) + "," + long("b", 128) + "," + long("c", 128) + "," + long("d", 128)}, long("a", 128) + "," + long("b", 128) + "," + long("c", 128)},
		{"both", []string{long("z", 250) + "," + long("a", 128) + "," + long("b", 128) + "," + long("c", 128) + "," + long("d", 125)}, long("a", 128) + "," + long("b", 128) + "," + long("c", 128) + "," + long("d", 125)},
	} {
		if got := traceState(tt.lines); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// FuzzTraceState: what goes along is a tracestate, is not changed by whoever takes
// it on, and is as long as W3C wants it.
func FuzzTraceState(f *testing.F) {
	f.Add("a=1", "b=2")
	f.Add("a=1,a=2, ,", strings.Repeat("a", 255)+"@b=1")
	f.Add(strings.Repeat("a=1,", 33), "a@b=\x00")
	f.Add("a="+strings.Repeat("v", 256)+",b="+strings.Repeat("v", 256), "c= d ")
	f.Fuzz(func(t *testing.T, a, b string) {
		got := traceState([]string{a, b})
		if again := traceState([]string{got}); again != got || len(got) > maxTraceState || !httpsend.ValidValue(got) {
			t.Errorf("%q, again %q", got, again)
		}
		if one := traceState([]string{a}); one != "" && traceState([]string{one}) != one {
			t.Errorf("%q", one)
		}
	})
}

func TestProducersHeadersCostNoMemory(t *testing.T) {
	ep := testEndpoint(t, "http://127.0.0.1", loopback)
	body := []byte(`{"a": 1}`)
	x := ep.sender.Begin(t.Context(), time.Now(), body)
	header := nats.Header{
		"CONTENT-TYPE": {"application/json"}, "Traceparent": {testParent}, "Tracestate": {"a=1,b=2"}, "content-encoding": {"gzip"}, "X-Tenant": {"a"},
	}
	(&wire.Envelope{EventID: "msg_1", Key: "k", Endpoint: "e", Subject: "s", Source: "S/1"}).WriteTo(header)
	// The list of headers grows now and then, which is less than once a run.
	if n := testing.AllocsPerRun(100, func() { describeEvent(x, header, body) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	ep.sender.Finish(x, nil)
	x = ep.sender.Begin(t.Context(), time.Now(), body)
	describeEvent(x, header, body)
	const others = 5 // lines: POST, Host, User-Agent, Content-Length and the empty one
	head, err := x.Head()
	if n := bytes.Count(head, []byte("\r\n")) - others; err != nil || n != 4 {
		t.Errorf("%d headers, %v: %q", n, err, head)
	}
	ep.sender.Finish(x, nil)
}
