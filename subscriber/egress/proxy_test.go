package egress

import (
	"strings"
	"testing"
)

func TestParseProxy(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"http://proxy.internal:3128": "http://proxy.internal:3128", "https://proxy.internal/": "https://proxy.internal",
		"http://10.0.0.1:8080": "http://10.0.0.1:8080", "http://[fd00::1]:8080": "http://[fd00::1]:8080", "HTTP://bücher.example:1": "http://xn--bcher-kva.example:1",
	} {
		if u, err := ParseProxy(text); err != nil || u.String() != want {
			t.Errorf("ParseProxy(%s) = %v, %v, want %s", text, u, err, want)
		}
	}
	for _, text := range []string{
		"", "proxy:3128", "socks5://proxy:1080", "http://", "http://:3128", "http://bob:hunter2@proxy:3128", "http://proxy:0", "http://proxy:",
		"http://proxy/path", "http://proxy?x", "http://proxy?", "http://proxy#x", "http://0x7f.1", "http://[fe80::1%25eth0]", "http://proxy:99999", "http:proxy",
	} {
		if u, err := ParseProxy(text); err == nil {
			t.Errorf("ParseProxy(%q) = %v, want an error", text, u)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats the password: %v", err)
		}
	}
}
