package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fanjet/subscriber/endpoint"
)

// tree makes a folder with a main file and one that it may include. DIR in include
// stands for it.
func tree(t *testing.T, include string, build func(dir string)) (dir string) {
	t.Helper()
	dir = t.TempDir()
	put(t, filepath.Join(dir, "conf/fanjet.yaml"), "version: 1\ndefaults: {secrets: [env:GOOD]}\ninclude: "+strings.ReplaceAll(include, "DIR", dir)+"\n"+endpointText("main"))
	put(t, filepath.Join(dir, "conf/teams/a.yaml"), endpointText("a"))
	build(dir)
	return dir
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, make func(from, to string) error, from, to string) {
	t.Helper()
	if err := make(from, to); err != nil {
		t.Fatal(err)
	}
}

// A wildcard means the files that an editor or Kubernetes shows, and each once.
func TestIncludeIsOfVisibleFiles(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		include string
		main    string // default: DIR/conf/fanjet.yaml
		build   func(t *testing.T, dir string)
		want    string // default: a main
	}{
		"lock of emacs": {include: `["teams/*.yaml"]`, build: func(t *testing.T, dir string) {
			link(t, os.Symlink, "ann@host.4711:1", dir+"/conf/teams/.#a.yaml")
		}},
		"swap file of vim": {include: `["teams/*"]`, build: func(t *testing.T, dir string) {
			put(t, dir+"/conf/teams/.a.yaml.swp", "b0VIM\x00")
		}},
		"question mark": {include: `["teams/?a.yaml", "teams/a.yaml"]`, build: func(t *testing.T, dir string) {
			put(t, dir+"/conf/teams/.a.yaml", ":")
		}},
		"class": {include: `["teams/[.b]a.yaml", "teams/a.yaml"]`, build: func(t *testing.T, dir string) {
			put(t, dir+"/conf/teams/.a.yaml", ":")
		}},
		"folders of a config map": {include: `["DIR/conf/*/*.yaml"]`, build: func(t *testing.T, dir string) {
			put(t, dir+"/conf/..2026_11_30/b.yaml", endpointText("b"))
			link(t, os.Symlink, "..2026_11_30", dir+"/conf/..data")
			link(t, os.Symlink, "../..data/b.yaml", dir+"/conf/teams/b.yaml")
		}, want: "a b main"},
		"hidden folder in between": {include: `["*/*/*.yaml", "teams/a.yaml"]`, build: func(t *testing.T, dir string) {
			put(t, dir+"/conf/teams/.git/x.yaml", ":")
		}},
		"named hidden ones": {include: `[".teams/*.yaml", "teams/.*.yaml", "teams/a.yaml"]`, build: func(t *testing.T, dir string) {
			put(t, dir+"/conf/.teams/b.yaml", endpointText("b"))
			put(t, dir+"/conf/teams/.c.yaml", endpointText("c"))
		}, want: "a b c main"},
		"two spellings": {include: `["teams/a.yaml", "./teams/../teams/a.yaml", "DIR/conf/teams/a.yaml", "DIR/conf//teams/*.yaml", "../conf/teams/a.yaml"]`},
		"link": {include: `["teams/*.yaml"]`, build: func(t *testing.T, dir string) {
			link(t, os.Symlink, "a.yaml", dir+"/conf/teams/z.yaml")
		}},
		"hard link": {include: `["teams/*.yaml"]`, build: func(t *testing.T, dir string) {
			link(t, os.Link, dir+"/conf/teams/a.yaml", dir+"/conf/teams/z.yaml")
		}},
		"link to the folder": {include: `["*/*.yaml"]`, build: func(t *testing.T, dir string) {
			link(t, os.Symlink, "teams", dir+"/conf/others")
		}},
		"main file":                     {include: `["*.yaml", "teams/*.yaml"]`},
		"main file by its root":         {include: `["DIR/conf/*.yaml", "DIR/conf/fanjet.yaml", "teams/*.yaml"]`},
		"main file in a roundabout way": {include: `["DIR/conf/*.yaml", "fanjet.yaml", "teams/*.yaml"]`, main: "DIR/conf/teams/../fanjet.yaml"},
		"main file by a link": {include: `["*.yaml", "DIR/conf/*.yaml", "DIR/conf/teams/*.yaml"]`, main: "DIR/etc/main.yaml", build: func(t *testing.T, dir string) {
			put(t, dir+"/etc/b.yaml", endpointText("b"))
			link(t, os.Symlink, "../conf/fanjet.yaml", dir+"/etc/main.yaml")
		}, want: "a b main"},
		"main file by a linked folder": {include: `["DIR/conf/*.yaml", "DIR/conf/teams/*.yaml"]`, main: "DIR/etc/fanjet.yaml", build: func(t *testing.T, dir string) {
			link(t, os.Symlink, "conf", dir+"/etc")
		}},
		"within one limit": {include: `[{files: "teams/*.yaml", secrets: ["env:GOOD"]}]`, build: func(t *testing.T, dir string) {
			link(t, os.Symlink, "a.yaml", dir+"/conf/teams/z.yaml")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := tree(t, tt.include, func(dir string) {
				if tt.build != nil {
					tt.build(t, dir)
				}
			})
			main, want := tt.main, tt.want
			if main == "" {
				main = "DIR/conf/fanjet.yaml"
			}
			if want == "" {
				want = "a main"
			}
			cfg := mustLoad(t, strings.ReplaceAll(main, "DIR", dir), Options{LookupEnv: environment})
			var names []string
			for _, e := range cfg.Endpoints {
				names = append(names, e.Name)
			}
			if got := strings.Join(names, " "); got != want {
				t.Errorf("endpoints %s, want %s", got, want)
			}
		})
	}
}

// What is limited in one entry is not opened by a link from another one.
func TestIncludeLimitIsOfTheFile(t *testing.T) {
	t.Parallel()
	for name, from := range map[string]string{"link": "a.yaml", "spelling": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := tree(t, `[{files: "teams/a.yaml", secrets: ["env:TEAM_*"]}, "others/*.yaml", "DIR/conf/teams/*.yaml"]`, func(dir string) {
				put(t, dir+"/conf/others/b.yaml", endpointText("b"))
				if from != "" {
					link(t, os.Symlink, "../teams/a.yaml", dir+"/conf/others/z.yaml")
				}
			})
			_, err := Load(dir+"/conf/fanjet.yaml", Options{LookupEnv: environment})
			if err == nil || !strings.Contains(err.Error(), "is already included at") {
				t.Errorf("loaded with %v", err)
			}
		})
	}
}

// An editor that opens a file makes nobody load anything; a link that becomes a
// file of its own does.
func TestWatchHiddenAndLinked(t *testing.T) {
	t.Parallel()
	dir := tree(t, `["teams/*.yaml"]`, func(dir string) {
		link(t, os.Symlink, "a.yaml", dir+"/conf/teams/z.yaml")
	})
	w := NewWatcher(dir+"/conf/fanjet.yaml", Options{LookupEnv: environment})
	if _, err := w.Load(); err != nil {
		t.Fatal(err)
	}
	link(t, os.Symlink, "ann@host.4711:1", dir+"/conf/teams/.#a.yaml")
	if w.seen.changed() {
		t.Error("an editor's lock is a change")
	}
	if err := os.Remove(dir + "/conf/teams/z.yaml"); err != nil {
		t.Fatal(err)
	}
	put(t, dir+"/conf/teams/z.yaml", endpointText("z"))
	if !w.seen.changed() {
		t.Error("a file in the place of a link is no change")
	}
	cfg, err := w.Load()
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(len(cfg.Endpoints)); got != "3" {
		t.Errorf("%s endpoints after that", got)
	}
	if !slices.ContainsFunc(cfg.Endpoints, func(e endpoint.Settings) bool { return e.Name == "z" }) {
		t.Error("its endpoint is not there")
	}
}
