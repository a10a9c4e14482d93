package httpsend

import (
	"net/http"
	"net/url"
	"testing"

	"fanjet/subscriber/egress"
	"fanjet/subscriber/outcome"
)

// A receiver gets a request line that every parser takes, the same over both
// protocols.
func TestURLsGoOutEncoded(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		got := make(chan *http.Request, 1)
		s, roots, _ := secureReceiver(t, http2, func(_ http.ResponseWriter, r *http.Request) { got <- r })
		for text, want := range map[string]string{
			"":                         "/",
			"/hook?":                   "/hook?",
			"/a/b;c=d/e,f@g:h?i=j&k=l": "/a/b;c=d/e,f@g:h?i=j&k=l",
			"/hook?name=Müller":        "/hook?name=M%C3%BCller",
			"/köln/日本?q=😀":             "/k%C3%B6ln/%E6%97%A5%E6%9C%AC?q=%F0%9F%98%80",
			"/a|b{c}^`\"<>\\[]":        "/a%7Cb%7Bc%7D%5E%60%22%3C%3E%5C%5B%5D",
			"/100%/%zz":                "/100%25/%25zz",
			"/a%2Fb|c":                 "/a%2Fb%7Cc", // a slash that is none stays one
			"//a/../b/./c":             "//a/../b/./c",
		} {
			u, err := egress.ParseURL(s.URL+text, loopback)
			if err != nil {
				t.Errorf("%q: %v", text, err)
				continue
			}
			sender := testSender(t, s.URL, loopback, func(o *Options) { o.URL = u })
			sender.transport.tls.RootCAs = roots
			if r := try(t.Context(), sender, []byte("{}")); r.Class != outcome.Class2xx {
				t.Errorf("%q: %s", text, r.Failure())
				continue
			}
			if r := <-got; r.RequestURI != want {
				t.Errorf("%q over %s: %s, want %s", text, r.Proto, r.RequestURI, want)
			}
		}
	}
}

// What was not read by ParseURL is refused rather than sent as it is.
func TestPreambleTakesEncodedURLsOnly(t *testing.T) {
	t.Parallel()
	for _, u := range []*url.URL{
		{Scheme: "https", Host: "example.com", Path: "/", RawQuery: "a=ü"},
		{Scheme: "https", Host: "example.com", Path: "/", RawQuery: "a b"},
		{Scheme: "https", Host: "bücher.example", Path: "/"},
		{Scheme: "https", Path: "/"},
	} {
		if _, err := newPreamble(u, nil, ""); err == nil {
			t.Errorf("%v is taken", u)
		}
	}
}
