package attempt

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"fanjet/internal/secret"
	"fanjet/internal/wire"
	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/httpsend"
	"fanjet/subscriber/outcome"
)

// What a receiver says when it refuses gets to those who need it, in one line,
// and the same over both protocols.
func TestFailureSaysWhy(t *testing.T) {
	t.Parallel()
	var compressed bytes.Buffer
	zip := gzip.NewWriter(&compressed)
	_, _ = zip.Write([]byte(`{"error": "no"}`))
	_ = zip.Close()
	long := strings.Repeat("all work and no play ", 500)
	for _, tt := range []struct {
		name     string
		status   int
		location string
		media    string
		coding   string
		body     string
		want     string
	}{
		{"nothing", 500, "", "", "", "", "5xx: 500 Internal Server Error"},
		{"a status of nobody", 599, "", "", "", "", "5xx: 599"},
		{"text", 400, "", "text/plain", "", "no such tenant\n", "4xx: 400 Bad Request: no such tenant"},
		{"JSON", 422, "", "application/json", "", "{\n  \"error\": \"amount must be positive\"\n}\n", `4xx: 422 Unprocessable Entity: { "error": "amount must be positive" }`},
		{"JSON of no type", 409, "", "", "", `{"error":"stale"}`, `4xx: 409 Conflict: {"error":"stale"}`},
		{"only the status", 404, "", "text/plain", "", "404 Not Found\n", "4xx: 404 Not Found"},
		{"only its name", 403, "", "text/plain", "", "Forbidden", "4xx: 403 Forbidden"},
		{"much like the status", 404, "", "text/plain", "", "404 page not found\n", "4xx: 404 Not Found: 404 page not found"},
		{
			"nginx", 503, "", "text/html", "",
			"<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n<body>\r\n<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n",
			"5xx: 503 Service Unavailable: 503 Service Temporarily Unavailable nginx/1.22.1",
		},
		{
			"nginx, of the usual name", 404, "", "text/html", "",
			"<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n<center><h1>404 Not Found</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n",
			"4xx: 404 Not Found: nginx",
		},
		{
			"Express", 500, "", "text/html; charset=utf-8", "",
			"<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Error</title>\n</head>\n<body>\n<pre>TypeError: Cannot read &#39;a&#39; &lt;b&gt;<br> &nbsp; at x</pre>\n</body>\n</html>\n",
			"5xx: 500 Internal Server Error: TypeError: Cannot read 'a' <b> at x",
		},
		{
			"a long head", 502, "", "text/html", "",
			"<!DOCTYPE html><html><head><title>Bad &amp; gateway</title><style>" + strings.Repeat("p{color:red}", 1000) + "</style></head><body>late</body></html>",
			"5xx: 502 Bad Gateway: Bad & gateway",
		},
		{"scripts and comments", 500, "", "", "", "<HTML><script>if (a < b) x();</script><!-- <p>not this</p> --><p>down</p><style>p{}</style>", "5xx: 500 Internal Server Error: down"},
		{"XML", 403, "", "application/xml", "", "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>", "4xx: 403 Forbidden: AccessDenied Access Denied"},
		{"compressed", 500, "", "application/json", "gzip", compressed.String(), "5xx: 500 Internal Server Error: (a body in gzip)"},
		{"compressed without a word", 500, "", "", "", compressed.String(), "5xx: 500 Internal Server Error: (a body that is no text)"},
		{"an image", 500, "", "image/png", "", "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "5xx: 500 Internal Server Error: (a body of image/png)"},
		{"another encoding", 400, "", "text/plain; charset=iso-8859-1", "", "Ung\xfcltige Anfrage", "4xx: 400 Bad Request: Ung?ltige Anfrage"},
		{"what steers terminals", 400, "", "", "", "a\x1b[31mred\x1b[0m\r\n\tb\u202e\u200bc", "4xx: 400 Bad Request: a?[31mred?[0m b??c"},
		{"long", 400, "", "text/plain", "", long, "4xx: 400 Bad Request: " + long[:outcome.MaxShown-3] + "..."},

		{"moved", 301, "https://new.example.com/hooks", "", "", "", "3xx: 301 Moved Permanently, Location: https://new.example.com/hooks"},
		{"moved with a word", 308, "/hooks/", "text/plain", "", "over there", "3xx: 308 Permanent Redirect, Location: /hooks/: over there"},
		{"moved with secrets", 302, "https://bob:hunter2@new.example.com/a?token=hunter2#hunter2", "", "", "", "3xx: 302 Found, Location: https://new.example.com/a?..."},
		{"moved to what is no URL", 307, "http://[::x?hunter2", "", "", "", "3xx: 307 Temporary Redirect, Location: http://[::x?..."},
		{"moved to what is no URL with a user", 307, "http://bob:hunter2@[::x", "", "", "", "3xx: 307 Temporary Redirect, Location: (not a URL)"},
		{"moved with a user alone", 302, "user:hunter2@new.example.com/x", "", "", "", "3xx: 302 Found, Location: [redacted]@new.example.com/x"},
		{"moved with a user and no slashes", 302, "https:user:hunter2@new.example.com", "", "", "", "3xx: 302 Found, Location: [redacted]@new.example.com"},
		{"moved with a user and too many", 302, "http:///user:hunter2@new.example.com/y", "", "", "", "3xx: 302 Found, Location: http:///[redacted]@new.example.com/y"},
		{"moved far", 301, "https://new.example.com/" + strings.Repeat("x", 3000), "", "", "", "3xx: 301 Moved Permanently, Location: https://new.example.com/" + strings.Repeat("x", outcome.MaxLocation-24-3) + "..."},
		{"not changed", 304, "", "", "", "", "3xx: 304 Not Modified"},
		{"a Location of no redirect", 404, "https://new.example.com/", "", "", "", "4xx: 404 Not Found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, http2 := range []bool{false, true} {
				for _, flushed := range []bool{false, true} { // with chunks over HTTP/1.1
					s, roots, _ := secureReceiver(t, http2, func(w http.ResponseWriter, _ *http.Request) {
						for name, value := range map[string]string{"Location": tt.location, "Content-Type": tt.media, "Content-Encoding": tt.coding} {
							w.Header().Set(name, value)
							if value == "" {
								w.Header()[name] = nil
							}
						}
						w.WriteHeader(tt.status)
						if flushed {
							w.(http.Flusher).Flush()
						}
						_, _ = io.WriteString(w, tt.body)
					})
					ep := testEndpoint(t, s.URL+"/hook", loopback)
					trust(t, ep, loopback, roots)
					for range 2 { // the connection is as good as before
						r := try(t.Context(), ep, nil, []byte("{}"))
						if got := r.Failure(); got != tt.want || r.Status != tt.status || r.Err != nil {
							t.Errorf("HTTP/2 %v, flushed %v: %q, want %q", http2, flushed, got, tt.want)
						}
					}
				}
			}
		})
	}
}

// What a receiver repeats of what is confidential stays between it and us.
func TestFailureHidesWhatIsConfidential(t *testing.T) {
	t.Parallel()
	const (
		own   = "own-value-of-a-header/with=signs+more"
		key   = "k3y0fThePartner"
		token = "T024BE7LD8x"
		query = "Sp3cial&Query/x"
		words = "some words <with> \"odd\" & more"
		pass  = "the-pass:word"
	)
	event := []byte(`{"type": "order", "email": "ada.lovelace@example.com", "card": 4242424242424242, "currency": "EURX", "note": "a \"quoted\" note"}`)
	for _, tt := range []struct {
		name string
		says func(r *http.Request, body string) string
		want string // of it; empty: only that nothing confidential is there
	}{
		{"headers", func(r *http.Request, _ string) string { return fmt.Sprint(r.Header) }, ""},
		{"headers as JSON", func(r *http.Request, _ string) string { return fmt.Sprintf("%q", r.Header["Authorization"]) }, `["Bearer [redacted]"]`},
		{"headers as PHP writes them", func(*http.Request, string) string { return `{"a":"` + strings.ReplaceAll(own, "/", `\/`) + `"}` }, `{"a":"[redacted]"}`},
		{"headers in a URL", func(*http.Request, string) string { return url.QueryEscape(own) + " " + url.PathEscape(own) }, "[redacted] [redacted]"},
		{"headers in HTML", func(*http.Request, string) string { return "<html><p>" + own + "</p>no" }, "[redacted] no"},
		{"the signature", func(r *http.Request, _ string) string { return "wrong " + r.Header.Get("Webhook-Signature") + "!" }, "wrong [redacted]!"},
		{"the bare signature", func(r *http.Request, _ string) string {
			_, value, _ := strings.Cut(r.Header.Get("Webhook-Signature"), ",")
			return "got " + value + ", or " + url.QueryEscape(value) + ", not mine"
		}, "got [redacted], or [redacted], not mine"},
		{"words as most encoders of JSON write them", func(*http.Request, string) string {
			return `{"x":"some words <with> \"odd\" & more"}`
		}, `{"x":"some [redacted]"}`},
		{"words in HTML that says it is text", func(*http.Request, string) string { return html.EscapeString(words) }, "some [redacted]"},
		{"what is in Basic", func(*http.Request, string) string { return "the password is " + pass + ", not that" }, "the password is [redacted], not that"},
		{"the user of a URL", func(*http.Request, string) string {
			return "no connection: postgres://app:hunter2@db:5432/x?a=b http://x:y"
		}, "no connection: postgres://[redacted]@db:5432/x?a=b http://x:y"},
		{"the secret", func(*http.Request, string) string { return "I have " + testSecret + "." }, "I have [redacted]."},
		{"the key in it", func(*http.Request, string) string { return testSecret[len("whsec_"):] }, "[redacted]"},
		{"another secret", func(*http.Request, string) string {
			return "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4= is no key"
		}, "[redacted] is no key"},
		{"the path", func(r *http.Request, _ string) string { return "Cannot POST " + r.URL.Path }, "Cannot POST /services/[redacted]/hooks"},
		{"the query", func(r *http.Request, _ string) string { return r.URL.RawQuery + " " + r.URL.Query().Get("q") }, "q=[redacted]&v=1 [redacted]"},
		{"what was cut off", func(*http.Request, string) string {
			return strings.Repeat(" ", httpsend.MaxExcerpt-4-len(own)/2) + "no: " + own
		}, "no: [redacted]"},
		{"somebody's credentials", func(*http.Request, string) string {
			return `Authorization: Basic dXNlcjpwYXNz, {"api_key":"a1b2c3d4","token": "Zm9vYmFy"} bearer eyJhbGciOiJIUzI1NiJ9.e30.x, password=hunter2`
		}, `Authorization: Basic [redacted], {"api_key":"[redacted]","token": "[redacted]"} bearer [redacted], password=[redacted]`},
		{"words that are none", func(*http.Request, string) string {
			return "\u0130 Bearer token is missing; invalid token: expired; api_key=required; basic authentication only"
		}, "\u0130 Bearer token is missing; invalid token: expired; api_key=required; basic authentication only"},

		{"the event", func(_ *http.Request, body string) string { return "what is " + body }, `what is {"type": "order", "email": "[event]", "card": [event], "currency": "EURX", "note": "[event]"}`},
		{"a value of the event", func(*http.Request, string) string {
			return `{"error":"no user ada.lovelace@example.com","card":"4242424242424242"}`
		}, `{"error":"no user [event]","card":"[event]"}`},
		{"fields of the event", func(*http.Request, string) string { return "email, card and currency (EURX) do not fit" }, "email, card and currency (EURX) do not fit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := receiver(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				w.WriteHeader(400)
				_, _ = io.WriteString(w, tt.says(r, string(body)))
			})
			u, err := egress.ParseURL(s.URL+"/services/"+token+"/hooks?q="+url.QueryEscape(query)+"&v=1", loopback)
			if err != nil {
				t.Fatal(err)
			}
			ep := testEndpoint(t, s.URL, loopback, func(e *endpoint.Settings) {
				e.URL = u
				e.Headers = http.Header{"X-Own": {own}, "Authorization": {"Bearer " + key}, "X-Short": {"1"}, "X-Words": {words}, "X-Basic": {"Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+pass))}}
			})
			r := try(t.Context(), ep, nil, event)
			got, ok := strings.CutPrefix(r.Failure(), "4xx: 400 Bad Request: ")
			if !ok || tt.want != "" && got != tt.want {
				t.Errorf("%q, want %q", r.Failure(), tt.want)
			}
			for _, text := range []string{own, key, token, query, testSecret, "ada.lovelace", "424242", pass, words[5:], own[:len(own)/2]} {
				if strings.Contains(got, text) {
					t.Errorf("%q has %q", got, text)
				}
			}
		})
	}
}

// A redirect to where the endpoint is already, but for a slash, does not tell the
// token in its path.
func TestLocationHidesTokens(t *testing.T) {
	t.Parallel()
	const token = "T024BE7LD8x"
	s := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "https://"+r.Host+r.URL.Path+"/")
		w.WriteHeader(301)
	})
	ep := testEndpoint(t, s.URL+"/services/"+token, loopback)
	if got, want := try(t.Context(), ep, nil, nil).Failure(), "3xx: 301 Moved Permanently, Location: https://"+ep.URL.Host+"/services/[redacted]/"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A receiver that sends back what it got, as no HTTP at all, has the request's
// own line in its answer.
func TestErrorsHideWhatIsRepeated(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	ep := testEndpoint(t, "http://"+l.Addr().String()+"/hook?key=s3cretOfTheQueryString", loopback)
	r := try(t.Context(), ep, nil, nil)
	if got := r.Failure(); r.Class != outcome.ClassConnect || !strings.Contains(got, "not HTTP/1.1") || strings.Contains(got, "s3cret") {
		t.Errorf("%q", got)
	}
	ep = testEndpoint(t, "http://shop.invalid/", egress.Policy{AllowHTTP: true, Ports: []uint16{80}}, func(e *endpoint.Settings) {
		e.Headers = http.Header{"X-Sender": {"shop"}}
	})
	if got := try(t.Context(), ep, nil, nil).Failure(); !strings.Contains(got, "shop.invalid") {
		t.Errorf("a name that does not resolve: %q", got)
	}
}

// A failure is told without waiting for a body that does not come, and what comes
// of one that does not end is told.
func TestFailureDoesNotWaitForTheBody(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		for says, want := range map[string]string{"": "", "first words": ": first words"} {
			release := make(chan struct{})
			s, roots, connections := secureReceiver(t, http2, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(500)
				_, _ = io.WriteString(w, says)
				w.(http.Flusher).Flush()
				<-release
				_, _ = io.WriteString(w, strings.Repeat("the rest ", 1000))
			})
			ep := testEndpoint(t, s.URL, loopback)
			trust(t, ep, loopback, roots)
			env := &wire.Envelope{EventID: "msg_1", Subject: "events.a", Attempt: 1}
			ep.Attempt(t.Context(), env, nil, nil, func(r outcome.Result) {
				if got := r.Failure(); got != "5xx: 500 Internal Server Error"+want {
					t.Errorf("HTTP/2 %v: %q", http2, got)
				}
				close(release) // or the test would hang
			})
			if connections.Load() != 1 {
				t.Errorf("%d connections", connections.Load())
			}
		}
	}
}

// FuzzFailure: whatever a receiver says is a bounded line that can be shown, and
// has nothing in it that must not be.
func FuzzFailure(f *testing.F) {
	f.Add("text/html", "", "https://x/?a#b", []byte("<html><head><title>a</title><body>b<!--"))
	f.Add("", "gzip", "", []byte("\x1f\x8b\x08"))
	f.Add("application/json", "", "//u:p@h", []byte(`{"a": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}`))
	f.Add("", "", "http://[", []byte("Authorization: Bearer own-value-12345 own-va"))
	f.Add("", "", "", []byte("<<script></style>&#x;\x00\xff"))
	f.Add("x/\u202e", "\x1b[31m", "\u202e", []byte("{\"data\": \"ada.lovelace@example.com\"}"))
	u, err := url.Parse("https://example.com/T024BE7LD8x?q=Sp3cialQuery")
	if err != nil {
		f.Fatal(err)
	}
	e := &Target{Settings: endpoint.Settings{URL: u, Headers: http.Header{"X-Own": {"own-value-12345"}}}}
	e.Secrets = []secret.Value{secret.New(testSecret)}
	event := []byte(`{"email": "ada.lovelace@example.com"}`)
	f.Fuzz(func(t *testing.T, media, coding, location string, body []byte) {
		moved, failed := outcome.Result{Class: outcome.Class3xx, Status: 301}, outcome.Result{Class: outcome.ClassConnect, Err: errors.New(string(body))}
		told := httpsend.Told{Location: location, ContentType: media, ContentEncoding: coding}
		whole, cut := e.answerLine(&moved, answer{told, body, true}, event, ""), e.answerLine(&moved, answer{told, body, false}, event, "")
		for i, got := range []string{e.errorLine(&failed), whole, cut} {
			if len(got) > outcome.MaxFailure || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) {
				t.Errorf("%d bytes: %q", len(got), got)
			}
			for _, text := range []string{"own-value-12345", testSecret, testSecret[6:], "T024BE7LD8x", "Sp3cialQuery"} {
				if strings.Contains(got, text) {
					t.Errorf("%q has %q", got, text)
				}
			}
			if i > 0 && strings.Contains(got, "ada.lovelace@example.com") && !strings.Contains(location, "ada.lovelace") {
				t.Errorf("%q has the event", got)
			}
		}
	})
}

func BenchmarkFailure(b *testing.B) {
	u, _ := url.Parse("https://example.com/T024BE7LD8x?q=Sp3cialQuery")
	e := &Target{Settings: endpoint.Settings{URL: u, Headers: http.Header{"X-Own": {"own-value-12345"}, "Authorization": {"Bearer abcdefg123"}}}}
	e.Secrets = []secret.Value{secret.New(testSecret)}
	event := append([]byte(`{"type":"order.created","pad":"`), bytes.Repeat([]byte("abcdefgh"), 124)...)
	text := legible([]byte(`{"error":"the token of the order is not known here, and its signature fits to no key"}`), httpsend.Told{})
	b.ReportAllocs()
	for b.Loop() {
		_ = e.hide(hideEvent(text, event), e.confidential(leastInAnswers, ""), false)
	}
}
