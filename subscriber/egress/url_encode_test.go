package egress

import (
	"bufio"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// What is written in the configuration, and what the request says.
func encodedURLs() map[string]string {
	return map[string]string{
		"":                          "/",
		"?a=b":                      "/?a=b",
		"/hook?":                    "/hook?",
		"/a/b;c=d/e,f@g:h?i=j&k=l":  "/a/b;c=d/e,f@g:h?i=j&k=l",
		"/hook?name=Müller":         "/hook?name=M%C3%BCller",
		"/hook?name=M%c3%bcller":    "/hook?name=M%c3%bcller", // as it was written
		"/hook?name=M%C3%BCller&ü":  "/hook?name=M%C3%BCller&%C3%BC",
		"/köln/日本?q=😀":              "/k%C3%B6ln/%E6%97%A5%E6%9C%AC?q=%F0%9F%98%80",
		`/hook?a=|"<>`:              "/hook?a=%7C%22%3C%3E",
		"/hook?a=`^{}\\[]":          "/hook?a=%60%5E%7B%7D%5C%5B%5D",
		"/a|b{c}^`\"<>\\[]":         "/a%7Cb%7Bc%7D%5E%60%22%3C%3E%5C%5B%5D",
		"/a b?c d=e  f":             "/a%20b?c%20d=e%20%20f",
		"/a+b?c+d":                  "/a+b?c+d",
		"/hook?off=50%":             "/hook?off=50%25",
		"/hook?off=50%&x=%2":        "/hook?off=50%25&x=%252",
		"/hook?off=%zz%2":           "/hook?off=%25zz%252",
		"/100%/%zz":                 "/100%25/%25zz",
		"/a%2Fb|c":                  "/a%2Fb%7Cc", // a slash that is none stays one
		"/a%252Fb?c=%2525":          "/a%252Fb?c=%2525",
		"/~a-b_c.d!$&'()*":          "/~a-b_c.d!$&'()*",
		"/?z=1&a=2&z=0;b":           "/?z=1&a=2&z=0;b",
		"?a=/?:@":                   "/?a=/?:@",
		"//a/../b/./c":              "//a/../b/./c",
		"/👩\u200d🚀":                 "/%F0%9F%91%A9%E2%80%8D%F0%9F%9A%80",
		"/a\u00a0b":                 "/a%C2%A0b",
		"/hook?redirect=http://x/y": "/hook?redirect=http://x/y",
	}
}

// Two ways to write the same are no change of the configuration.
func TestEncodedURLsAreEqual(t *testing.T) {
	t.Parallel()
	for text, want := range encodedURLs() {
		a, err := ParseURL("https://example.com"+text, Policy{Ports: []uint16{443}})
		if err != nil {
			t.Fatal(err)
		}
		b, err := ParseURL("https://example.com"+want, Policy{Ports: []uint16{443}})
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(text, "/") && *a != *b || a.RequestURI() != b.RequestURI() {
			t.Errorf("%q: %#v, %#v", text, a, b)
		}
	}
}

// FuzzURL: what ParseURL takes goes out as ASCII without anything that RFC 3986
// does not allow there, is read by a server as it was meant, and encodes to
// itself.
func FuzzURL(f *testing.F) {
	for text := range encodedURLs() {
		f.Add("https://example.com" + text)
	}
	for _, text := range []string{
		"HTTP://[::1]:80/ü", "https://bücher.example:443?%", "https:/example.com/ü", "//x", "%", "https://a/%\x00", "https://u:p@h/ü", "https://h/#ü",
		"https://h/\xff", "https://h\\ü", "https://h/ ", "https://h//%2f%", "https://h?/%%%25",
	} {
		f.Add(text)
	}
	policy := Policy{Ports: []uint16{443, 80}, AllowHTTP: true}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseURL(text, policy)
		if err != nil {
			return
		}
		uri := u.RequestURI()
		const more = "-._~!$&'()*+,;=:@/?%"
		if i := strings.IndexFunc(uri, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(more, r)
		}); i >= 0 {
			t.Errorf("%q goes out as %q", text, uri)
		}
		for i, c := range []byte(uri) {
			if c == '%' && !standsInURL(uri, i) {
				t.Errorf("%q goes out as %q, with a stray %%", text, uri)
			}
		}
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("POST " + uri + " HTTP/1.1\r\nHost: x\r\n\r\n")))
		if err != nil || r.RequestURI != uri {
			t.Fatalf("%q goes out as %q: %v", text, uri, err)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		again, err := ParseURL(u.String(), policy)
		if err != nil || again.RequestURI() != uri || again.Host != u.Host {
			t.Fatalf("%q, as %q again: %v, %v", text, u.String(), again, err)
		}
		// Nothing was decoded, and nothing encoded twice.
		raw := text[endOfAuthority(text):]
		path, query, _ := strings.Cut(raw, "?")
		if got := u.EscapedPath(); decoded(got) != decoded(path) || strings.Count(got, "/") != strings.Count(path, "/") || decoded(u.RawQuery) != decoded(query) {
			t.Errorf("%q goes out as %q", text, uri)
		}
	})
}

// decoded decodes what is percent-encoded, and leaves a % that encodes nothing.
func decoded(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && standsInURL(text, i) {
			s, _ := url.PathUnescape(text[i : i+3])
			b.WriteString(s)
			i += 2
		} else {
			b.WriteByte(text[i])
		}
	}
	return b.String()
}
