package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What an included file may use when its secrets are limited.
func TestSecretLimit(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, dir := range []string{"team-a/sub", "team-ab", "team-b", "mount/..2026_01", "conf/teams"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"team-a/key", "team-a/sub/key", "team-ab/key", "team-b/key", "mount/..2026_01/key", "conf/teams/key"} {
		if err := os.WriteFile(filepath.Join(root, path), []byte(sharedSecret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"team-a/out": "../team-b/key", "team-a/in": "key", "team-a/folder": "../team-b", "alias": "team-a",
		"mount/..data": "..2026_01", "mount/key": "..data/key",
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		pattern, reference string
		want               bool
	}{
		{"env:TEAM_A_*", "env:TEAM_A_KEY", true},
		{"env:TEAM_A_*", "env:TEAM_A_", true},
		{"env:TEAM_A_*", "env:TEAM_AB_KEY", false},
		{"env:TEAM_A_*", "env:team_a_key", false},
		{"env:TEAM_A_*", "env:X_TEAM_A_KEY", false},
		{"env:TEAM_A_KEY", "env:TEAM_A_KEY", true},
		{"env:TEAM_A_KEY", "env:TEAM_A_KEYS", false},
		{"env:*", "file:ROOT/team-a/key", false},
		{"env:*", sharedSecret, false},
		{"whsec_*", sharedSecret, true},
		{"whsk_*", sharedSecret, false},
		{"whsec_*", "env:TEAM_A_KEY", false},

		{"file:ROOT/team-a/*", "file:ROOT/team-a/key", true},
		{"file:ROOT/team-a/*", "file:ROOT//team-b/.././team-a/key", true},
		{"file:ROOT/team-a/*", "file:ROOT/team-a/../team-b/key", false},
		{"file:ROOT/team-a/*", "file:ROOT/team-a/sub/key", false},
		{"file:ROOT/team-a/*", "file:ROOT/team-ab/key", false},
		{"file:ROOT/team-a/*", "file:ROOT/team-b/key", false},
		{"file:ROOT/team-a/*", "env:TEAM_A_KEY", false},
		{"file:ROOT/team-b/../team-a/*", "file:ROOT/team-a/key", true},
		{"file:ROOT/team-a/key", "file:ROOT/team-a/key", true},
		{"file:ROOT/*/key", "file:ROOT/team-b/key", true},
		{"file:ROOT/team-a*/key", "file:ROOT/team-b/key", false},

		// Relative to the file that the text stands in.
		{"file:../team-a/*", "file:../../team-a/key", true},
		{"file:../team-a/*", "file:../team-a/key", false},
		{"file:teams/*", "file:key", true},
		{"file:teams/*", "file:../../team-b/key", false},

		// Links.
		{"file:ROOT/team-a/*", "file:ROOT/team-a/in", true},
		{"file:ROOT/team-a/*", "file:ROOT/team-a/out", false},
		{"file:ROOT/team-a/*/key", "file:ROOT/team-a/folder/key", false},
		{"file:ROOT/alias/*", "file:ROOT/alias/key", true},
		{"file:ROOT/alias/*", "file:ROOT/alias/out", false},
		{"file:ROOT/team-a/*", "file:ROOT/alias/key", false},
		{"file:ROOT/mount/*", "file:ROOT/mount/key", true}, // as Kubernetes has it
	} {
		l := &loader{files: files{resolve: filepath.EvalSymlinks}}
		text := func(s string) string { return strings.ReplaceAll(s, "ROOT", root) }
		list := &node{kind: kindList, source: &source{name: "fanjet.yaml", dir: filepath.Join(root, "conf")}}
		list.items = []*node{{kind: kindScalar, source: list.source, parent: list, text: text(tt.pattern)}}
		limit := l.secretLimit(list)
		item := &node{kind: kindScalar, source: &source{name: "a.yaml", dir: filepath.Join(root, "conf/teams")}, text: text(tt.reference)}
		if limit == nil || l.allows(limit, item) != tt.want {
			t.Errorf("%s under %s: allowed %v, want %v (problems: %v)", tt.reference, tt.pattern, !tt.want, tt.want, l.problems)
		}
	}
}
