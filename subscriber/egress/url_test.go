package egress

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	strict := Policy{Ports: []uint16{443}}
	lax := Policy{Ports: []uint16{443}, AllowHTTP: true, AllowCIDRs: allow(t, "127.0.0.0/8:9000", "[::1]:9001", "10.0.0.0/8:80")}
	tests := []struct {
		name   string
		url    string
		policy Policy
		want   string // in the error; empty: accepted
	}{
		{"plain", "https://example.com/hooks", strict, ""},
		{"query", "https://example.com/hooks?tenant=7&x=%20", strict, ""},
		{"upper case", "HTTPS://Example.COM", strict, ""},
		{"port in the list", "https://example.com:443/", strict, ""},
		{"underscore and trailing dot", "https://my_host.example.com./", strict, ""},
		{"international name in ASCII", "https://xn--bcher-kva.example/", strict, ""},
		{"public address", "https://1.1.1.1/", strict, ""},
		{"public v6 address", "https://[2606:4700::1111]/", strict, ""},
		{"listed loopback", "http://127.0.0.1:9000/", lax, ""},
		{"localhost over v4", "http://localhost:9000/", lax, ""},
		{"localhost over v6", "http://localhost:9001/", lax, ""},
		{"name on a port of a range", "http://receiver.internal/", lax, ""},

		{"empty", "", strict, "must begin with https://"},
		{"no scheme", "example.com/hooks", strict, "must begin with https://"},
		{"host and port only", "localhost:9000", strict, "must begin with https://"},
		{"other scheme", "ftp://example.com/", strict, "must begin with https://"},
		{"opaque", "https:example.com", strict, "has no host"},
		{"no host", "https:///path", strict, "has no host"},
		{"port only", "https://:443/", strict, "has no host"},
		{"user", "https://bob@example.com/", strict, "user or password"},
		{"user and password", "https://bob:hunter2@example.com/", strict, "user or password"},
		{"slash in the password", "https://bob:hun/ter2@example.com/", strict, "not a valid URL"},
		{"fragment", "https://example.com/#top", strict, "fragment"},
		{"empty fragment", "https://example.com/#", strict, "fragment"},
		{"space behind", "https://example.com/a ", strict, "space"},
		{"space before", " https://example.com/a", strict, "space"},
		{"space in the host", "https://exam ple.com/a", strict, "in front of its path"},
		{"no-break space behind", "https://example.com/a\u00a0", strict, "space"},
		{"line break", "https://example.com/\n", strict, "control character"},
		{"line break in the query", "https://example.com/?a=\r\nb", strict, "control character"},
		{"tab", "https://example.com/?a=\tb", strict, "control character"},
		{"NUL", "https://example.com/?a=\x00", strict, "control character"},
		{"DEL", "https://example.com/\x7f", strict, "control character"},
		{"C1", "https://example.com/\u0085", strict, "control character"},
		{"not UTF-8", "https://example.com/?a=\xff", strict, "not valid UTF-8"},
		{"zero-width space", "https://example.com/hook\u200b", strict, "invisible character"},
		{"text that runs backwards", "https://example.com/\u202ehook", strict, "invisible character"},
		{"byte order mark", "\ufeffhttps://example.com/hook", strict, "invisible character"},
		{"bad escape in the host", "https://exam%zzple.com/", strict, "not a valid URL"},
		{"backslash", "https://example.com\\hooks", strict, "not a valid URL"},
		{"too long", "https://example.com/" + strings.Repeat("a", maxURL), strict, "longer than"},
		{"too long once encoded", "https://example.com/" + strings.Repeat("ü", maxURL/4), strict, "once percent-encoded"},
		{"http", "http://example.com/", strict, "egress.allow_http"},
		{"port 0", "https://example.com:0/", strict, "not from 1 to 65535"},
		{"port too large", "https://example.com:65536/", strict, "not from 1 to 65535"},
		{"port with a sign", "https://example.com:-1/", strict, "not a valid URL"},
		{"no port behind the colon", "https://example.com:/", strict, "no port behind"},
		{"port not in the list", "https://example.com:8443/", strict, "port 8443 is not in egress.ports"},
		{"port open for another family only", "http://example.com:9002/", lax, "port 9002"},
		{"zone", "https://[fe80::1%25eth0]/", strict, "zone"},
		{"not an address", "https://[::zz]/", strict, "not a valid URL"},
		{"loopback", "https://127.0.0.1/", strict, "not a public address"},
		{"loopback on another port", "http://127.0.0.1:9001/", lax, "not a public address"},
		{"mapped loopback", "https://[::ffff:127.0.0.1]/", strict, "127.0.0.1 is not a public address"},
		{"metadata", "https://169.254.169.254/latest/", strict, "egress.allow_metadata"},
		{"private v6", "https://[fd00::1]/", strict, "not a public address"},
		{"localhost", "https://localhost/", strict, "not a public address"},
		{"below localhost", "https://a.localhost./", strict, "not a public address"},
		{"number", "https://2130706433/", strict, "a number for a host"},
		{"hexadecimal", "https://0x7f000001/", strict, "a number for a host"},
		{"short address", "https://127.1/", strict, "a number for a host"},
		{"octal address", "https://0177.0.0.01/", strict, "a number for a host"},
		{"hexadecimal part", "https://127.0.0.0x1/", strict, "a number for a host"},
		{"empty label", "https://a..example/", strict, "part that is empty"},
		{"only a dot", "https://./", strict, "part that is empty"},
		{"long label", "https://" + strings.Repeat("a", 64) + ".example/", strict, "longer than 63"},
		{"long name", "https://" + strings.Repeat("a.", 130) + "example/", strict, "more than 253"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			u, err := ParseURL(tt.url, tt.policy)
			if tt.want == "" {
				if err != nil || u == nil {
					t.Errorf("ParseURL(%q) = %v, %v, want the URL", tt.url, u, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("ParseURL(%q): error %v, want one with %q", tt.url, err, tt.want)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "hun/ter2") {
				t.Errorf("the error repeats the password: %v", err)
			}
		})
	}
}

func TestParseURLRefusesOwnListeners(t *testing.T) {
	t.Parallel()
	policy := Policy{AllowHTTP: true, AllowCIDRs: allow(t, "127.0.0.0/8", "::1")}
	own := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:8422"), netip.MustParseAddrPort("[::1]:8422")}
	for text, refused := range map[string]bool{
		"http://127.0.0.1:8422/": true,
		"http://[::1]:8422/":     true,
		"http://localhost:8422/": true,
		"http://127.0.0.1:8423/": false,
	} {
		_, err := ParseURL(text, policy, own...)
		if refused != errors.Is(err, ErrBlocked) {
			t.Errorf("ParseURL(%s) = %v, want refused %v", text, err, refused)
		}
	}
}
