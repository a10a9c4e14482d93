package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fanjet/internal/secret"
)

// Secrets that are not those of webhooks are resolved in the same way, and no
// message has anything of them.
func TestReference(t *testing.T) {
	t.Parallel()
	const hidden = "canary-7c1f"
	dir := t.TempDir()
	for name, text := range map[string]string{"token": hidden + "\n", "crlf": hidden + "\r\n", "empty": "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := func(name string) (string, bool) { return hidden, name == "TOKEN" }
	token := secretKind{example: "ADMIN_TOKEN"}
	picky := secretKind{example: "ADMIN_TOKEN", check: func(string) error { return errors.New("it is too short") }}
	for _, tt := range []struct {
		text      string
		kind      secretKind
		noSecrets bool
		want      string // in the problem; empty: none, and the secret is found
	}{
		{text: "env:TOKEN", kind: token},
		{text: "file:token", kind: token},
		{text: "file:" + dir + "/crlf", kind: token},
		{text: "env:TOKEN", kind: picky, want: "the secret in the environment variable TOKEN: it is too short"},
		{text: "file:token", kind: picky, want: dir + "/token: it is too short"},
		{text: "env:OTHER", kind: token, want: "the environment variable OTHER is not set"},
		{text: "env:", kind: token, want: "such as env:ADMIN_TOKEN"},
		{text: "env:" + hidden, kind: token, want: "such as env:ADMIN_TOKEN"},
		{text: "file:", kind: token, want: "such as file:/run/secrets/admin_token"},
		{text: "file:missing", kind: token, want: "cannot be read: no such file"},
		{text: "file:empty", kind: token, want: "empty is empty: write the secret into it"},
		{text: hidden, kind: token, want: "must be env:NAME or file:PATH: a secret does not belong in this file"},
		{text: sharedSecret, kind: token, want: "must be env:NAME or file:PATH"},
		{text: "env:TOKEN", kind: picky, noSecrets: true},
		{text: "file:missing", kind: token, noSecrets: true},
		{text: hidden, kind: token, noSecrets: true, want: "must be env:NAME or file:PATH"},
	} {
		l := &loader{cfg: &Config{}, opts: Options{LookupEnv: env, NoSecrets: tt.noSecrets}, files: files{read: readFile}}
		n := &node{source: &source{name: "fanjet.yaml", dir: dir}, kind: kindScalar, text: tt.text}
		got, ok := l.reference(n, tt.text, tt.kind)
		var messages strings.Builder
		for _, p := range append(l.problems, l.warnings...) {
			messages.WriteString(p.String())
		}
		found := tt.want == "" && !tt.noSecrets
		if ok != found || found && !got.Equal(secret.New(hidden)) || !found && !got.IsZero() {
			t.Errorf("reference(%s), NoSecrets %v: ok %v, %v", tt.text, tt.noSecrets, ok, messages.String())
		}
		if (messages.Len() > 0) != (tt.want != "") || !strings.Contains(messages.String(), tt.want) {
			t.Errorf("reference(%s), NoSecrets %v says %q, want %q", tt.text, tt.noSecrets, messages.String(), tt.want)
		}
		if strings.Contains(messages.String(), hidden) {
			t.Errorf("reference(%s): the message shows the secret: %s", tt.text, messages.String())
		}
	}
}
