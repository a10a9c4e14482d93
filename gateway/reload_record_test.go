package gateway

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fanjet/config"
	"fanjet/internal/audit"
)

// The record of a reload names what changed and in which file, and its result is a
// word.
func TestReloadRecordNamesWhatChanged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load := func() (*config.Config, error) {
		return config.Load(filepath.Join(dir, "fanjet.yaml"), config.Options{LookupEnv: func(string) (string, bool) { return hookSecret, true }})
	}
	endpoint := func(name, more string) string {
		return fmt.Sprintf("  %s: {url: \"https://%s.example.com/%s\"}\n", name, name, more)
	}
	subscription := func(name string) string {
		return fmt.Sprintf("  - {name: %s, subjects: [\"events.>\"], endpoints: [a]}\n", name)
	}
	head := "version: 1\nnats: {url: \"NATS\"}\nadmin: {listen: \"127.0.0.1:0\"}\ninclude: [\"teams/*.yaml\"]\n"
	defaults := "defaults: {secrets: [env:X], timeout: 5s}\n"
	w := newWorld(t)
	head = strings.ReplaceAll(head, "NATS", w.nats.URL())
	main := head + defaults + "endpoints:\n" + endpoint("a", "")
	write("fanjet.yaml", main+"subscriptions:\n"+subscription("all"))
	write("teams/one.yaml", "endpoints:\n"+endpoint("one", "")+endpoint("gone", ""))
	var err error
	if w.cfg, err = load(); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.waitFor("the record can be written", func() bool { return w.gw.audit.Load() != nil })
	// reload takes over what is in the files, and returns the record of that.
	reload := func() audit.Record {
		t.Helper()
		var changes config.Changes
		cfg, err := load()
		if err != nil {
			w.gw.ReloadFailed(err)
		} else {
			changes, err = w.gw.Reload(cfg)
		}
		w.gw.RecordReload(t.Context(), "file", changes, err)
		for r, err := range w.gw.audit.Load().List(t.Context(), audit.Filter{Limit: 1}) {
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		t.Fatal("no record")
		return audit.Record{}
	}
	check := func(what, result string, details ...string) {
		t.Helper()
		r := reload()
		if r.Action != audit.Reload || r.Result != result {
			t.Errorf("%s: %s %s, want %s", what, r.Action, r.Result, result)
		}
		for _, want := range details {
			if !strings.Contains(r.Detail, strings.ReplaceAll(want, "DIR", dir)) {
				t.Errorf("%s: %q, want something about %s", what, r.Detail, want)
			}
		}
	}
	check("nothing", "ok", "endpoints +0 -0 ~0, subscriptions +0 -0 ~0")

	write("teams/one.yaml", "endpoints:\n"+endpoint("one", "changed"))
	write("teams/two.yaml", "endpoints:\n"+endpoint("two", "")+"subscriptions:\n"+subscription("of-two"))
	check("teams", "ok", "endpoints +1 -1 ~1, subscriptions +1 -0 ~0",
		"DIR/teams/one.yaml: endpoint gone removed, endpoint one changed", "DIR/teams/two.yaml: endpoint two added, subscription of-two added")

	write("fanjet.yaml", strings.Replace(main, "5s", "6s", 1)+"egress: {ports: [443, 8443]}\ndead_letters: {max_age: 30d}\ndelivery: {direct: false}\nsubscriptions:\n"+subscription("renamed"))
	check("main file", "ok", "DIR/fanjet.yaml: defaults changed, egress changed, delivery waits for a restart, dead_letters waits for a restart, endpoint a changed, subscription renamed added, subscription all removed",
		"DIR/teams/one.yaml: endpoint one changed")

	if err := os.Remove(filepath.Join(dir, "teams/two.yaml")); err != nil {
		t.Fatal(err)
	}
	check("a file that is gone", "ok", "DIR/teams/two.yaml: endpoint two removed, subscription of-two removed")

	var many strings.Builder
	many.WriteString("endpoints:\n")
	for i := range 30 {
		many.WriteString(endpoint(fmt.Sprintf("e%02d", i), ""))
	}
	write("teams/many.yaml", many.String())
	check("many", "ok", "endpoints +30", "endpoint e00 added", "; and 12 more")

	write("teams/many.yaml", "endpoints:\n"+endpoint("one", "")+"  x: {}\n")
	check("mistakes", "refused", "DIR/teams/many.yaml:3:3: endpoints.x: url is missing", "; and 1 more")
	if r := whyRefused(errors.New("no certificate")); r != "no certificate" {
		t.Error(r)
	}
}
