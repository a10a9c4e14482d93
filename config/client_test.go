package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A command beside a running gateway finds NATS and the listener in a file that has
// a mistake elsewhere, and never takes a default for what is written there.
func TestLoadClient(t *testing.T) {
	t.Parallel()
	const sections = `version: 1
nats:
  url: nats://nats-1:4222
  prefix: two
admin:
  listen: 127.0.0.1:9422
`
	const endpoints = "endpoints:\n  a: {url: \"https://a.example.com\", secrets: [env:A_SECRET]}\n  b: {url: \"https://b.example.com\", secrets: [env:B_SECRET]}\n" +
		"subscriptions:\n  - {name: all, subjects: [\"events.>\"], endpoints: [a, b]}\n"
	type want struct {
		nats, admin, broken bool
		url, prefix, listen string
	}
	both := want{nats: true, admin: true, broken: true, url: "nats://nats-1:4222", prefix: "two", listen: "127.0.0.1:9422"}
	right := both
	right.broken = false
	defaults := want{nats: true, admin: true, broken: true, prefix: "fanjet", listen: "127.0.0.1:8422"}
	tests := map[string]struct {
		text string
		want want
	}{
		"right":                        {sections + endpoints, right},
		"a bracket is not closed":      {sections + endpoints + "egress: {allow_http: [\n", both},
		"a quote is not closed":        {sections + "egress: {allow_http: \"\n" + endpoints, both},
		"a quote before them":          {"defaults: {timeout: \"3s}\n" + sections + endpoints, both},
		"a tab":                        {sections + "endpoints:\n\ta: {}\n", both},
		"windows line ends":            {strings.ReplaceAll(sections+"egress: [\n", "\n", "\r\n"), both},
		"a byte order mark":            {"\ufeff" + sections + "egress: [\n", both},
		"quoted keys":                  {strings.NewReplacer("nats:\n", "\"nats\":\n", "admin:", "'admin' :").Replace(sections) + "egress: [\n", both},
		"an unknown key":               {sections + endpoints + "egres: {}\n", both},
		"a bad endpoint":               {sections + strings.Replace(endpoints, "url:", "ulr:", 1), both},
		"a secret in the file":         {sections + strings.Replace(endpoints, "env:A_SECRET", "hunter2", 1), both},
		"an include that is gone":      {sections + endpoints + "include: [gone.yaml]\n", both},
		"an include with a mistake":    {sections + endpoints + "include: [broken.yaml]\n", both},
		"no version":                   {strings.Replace(sections, "version: 1\n", "", 1), both},
		"a password that is not there": {strings.Replace(sections, "  prefix: two", "  prefix: two\n  user: me\n  password: env:FANJET_NOT_SET", 1) + endpoints, both},
		"a token with a mistake":       {sections + "  tokens: [{name: x}]\n" + endpoints, both},
		"neither section":              {"version: 1\negress: [\n", defaults},
		"a mistake in nats": {
			strings.Replace(sections, "prefix: two", "prefx: two", 1) + endpoints, want{admin: true, broken: true, url: "nats://nats-1:4222", prefix: "fanjet", listen: "127.0.0.1:9422"},
		},
		"a syntax error in nats": {
			strings.Replace(sections, "prefix: two", "prefix: [", 1) + endpoints, want{admin: true, broken: true, prefix: "fanjet", listen: "127.0.0.1:9422"},
		},
		"a mistake in admin": {
			strings.Replace(sections, "listen:", "listn:", 1) + endpoints, want{nats: true, broken: true, url: "nats://nats-1:4222", prefix: "two", listen: "127.0.0.1:8422"},
		},
		"braces": {
			`{version: 1, nats: {prefix: two}, admin: {listen: "127.0.0.1:9422"}, egress: [}`, want{broken: true, prefix: "fanjet", listen: "127.0.0.1:8422"},
		},
		"nats twice": {sections + "nats: {prefix: three}\negress: [\n", want{admin: true, broken: true, prefix: "fanjet", listen: "127.0.0.1:9422"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for file, text := range map[string]string{"fanjet.yaml": tt.text, "broken.yaml": "endpoints: [\n"} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			c := LoadClient(filepath.Join(dir, "fanjet.yaml"), Options{})
			got := want{c.NATSKnown, c.AdminKnown, c.Problems != nil, c.NATS.URL, c.NATS.Prefix, c.Admin.Listen}
			if got != tt.want {
				t.Errorf("got %+v, want %+v\n%v", got, tt.want, c.Problems)
			}
			for _, e := range c.Endpoints {
				if e.URL == nil {
					t.Errorf("endpoint %s has no address", e.Name)
				}
			}
		})
	}
	t.Run("hidden files are not included", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		for file, text := range map[string]string{"fanjet.yaml": sections + endpoints + "include: [\"*.part.yaml\"]\n", ".#a.part.yaml": "endpoints: [\n"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if c := LoadClient(filepath.Join(dir, "fanjet.yaml"), Options{}); c.Problems != nil {
			t.Error(c.Problems)
		}
	})
	gone := LoadClient(filepath.Join(t.TempDir(), "fanjet.yaml"), Options{NATS: "nats://other:4222"})
	if gone.NATSKnown || gone.AdminKnown || gone.Problems == nil || gone.NATS.URL != "nats://other:4222" || gone.NATS.Prefix != "fanjet" || gone.Admin.Listen != "127.0.0.1:8422" {
		t.Errorf("of a file that is gone: %+v", gone)
	}
}
