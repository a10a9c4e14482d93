package config

import (
	"fmt"
	"strings"
	"testing"
)

// Endpoints that a receiver cannot tell apart are warned of, however their URLs are
// spelt and wherever they come from.
func TestSameURL(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		urls []string // of a, b, c, …; empty: that of the defaults, https://default.example.com/hook
		want []string // what the warnings begin with
	}{
		"the same":            {[]string{"https://x.example.com/hook", "https://x.example.com/hook"}, []string{"endpoints.b: has the url of a at "}},
		"another path":        {[]string{"https://x.example.com/a", "https://x.example.com/b"}, nil},
		"another query":       {[]string{"https://x.example.com/?a", "https://x.example.com/?b"}, nil},
		"another port":        {[]string{"https://x.example.com/", "https://x.example.com:8443/"}, nil},
		"another host":        {[]string{"https://x.example.com/", "https://y.example.com/"}, nil},
		"case of a path":      {[]string{"https://x.example.com/A", "https://x.example.com/a"}, nil},
		"the port of https":   {[]string{"https://x.example.com/", "https://x.example.com:443"}, []string{"endpoints.b: "}},
		"case of a host":      {[]string{"https://X.example.com/a?b", "HTTPS://x.EXAMPLE.com/a?b"}, []string{"endpoints.b: "}},
		"no path":             {[]string{"https://x.example.com", "https://x.example.com/"}, []string{"endpoints.b: "}},
		"from the defaults":   {[]string{"", "https://x.example.com/", ""}, []string{"endpoints.c: has the url of a at "}},
		"three":               {[]string{"https://x.example.com/", "https://x.example.com/", "https://x.example.com/"}, []string{"endpoints.b: has the url of a at "}},
		"two pairs of others": {[]string{"https://x.example.com/", "https://y.example.com/", "https://x.example.com/", "https://y.example.com/"}, []string{"endpoints.c: has the url of a at ", "endpoints.d: has the url of b at "}},
	} {
		text := "version: 1\negress: {ports: [443, 8443]}\ndefaults: {url: \"https://default.example.com/hook\", secrets: [env:GOOD]}\nendpoints:\n"
		var all []string
		for i, url := range tt.urls {
			endpoint := string(rune('a' + i))
			all = append(all, endpoint)
			if url == "" {
				text += fmt.Sprintf("  %s: {}\n", endpoint)
			} else {
				text += fmt.Sprintf("  %s: {url: %q}\n", endpoint, url)
			}
		}
		text += fmt.Sprintf("subscriptions: [{name: s, subjects: [events.>], endpoints: [%s]}]\n", strings.Join(all, ", "))
		got := messages(mustLoad(t, write(t, text), Options{}).Warnings)
		ok := len(got) == len(tt.want)
		for i := 0; ok && i < len(got); i++ {
			ok = strings.HasPrefix(got[i], tt.want[i]) && !strings.Contains(got[i], "example.com")
		}
		if !ok {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
