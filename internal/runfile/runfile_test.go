//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package runfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestWriteAndFind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := filepath.Join(dir, "fanjet.yaml") // which is not there
	missing := filepath.Join(dir, "missing", "fanjet-1")
	folders := []string{missing, filepath.Join(dir, "a"), filepath.Join(dir, "b")}
	started := time.Now()
	r := Record{Started: started, Admin: Admin{Address: "127.0.0.1:1"}, NATS: NATS{Prefix: "two"}}
	f, err := Write(config, folders, r)
	if err != nil {
		t.Fatal(err)
	}
	want := func(what string, addresses ...string) {
		t.Helper()
		found := Find(config, folders)
		if len(found) != len(addresses) {
			t.Fatalf("%s: found %+v", what, found)
		}
		for i, r := range found {
			if r.Admin.Address != addresses[i] || r.NATS.Prefix != "two" || r.PID != os.Getpid() {
				t.Errorf("%s: found %+v, want %s", what, r, addresses[i])
			}
		}
	}
	want("one", "127.0.0.1:1")
	if others := Find(filepath.Join(dir, "other.yaml"), folders); len(others) != 0 {
		t.Errorf("with another configuration: %+v", others)
	}
	if link := filepath.Join(t.TempDir(), "link"); os.Symlink(dir, link) != nil || len(Find(filepath.Join(link, "fanjet.yaml"), folders)) != 1 {
		t.Error("the configuration by another path is another one")
	}
	second := r
	second.Started, second.Admin.Address = started.Add(time.Second), "127.0.0.1:2"
	g, err := Write(config, folders, second)
	if err != nil {
		t.Fatal(err)
	}
	want("two", "127.0.0.1:2", "127.0.0.1:1")
	r.Admin.Address = "127.0.0.1:3"
	if err := f.Update(r); err != nil {
		t.Fatal(err)
	}
	want("updated", "127.0.0.1:2", "127.0.0.1:3")
	g.Remove()
	want("removed", "127.0.0.1:3")
	f.Remove()
	want("none")
	for _, dir := range folders[1:] {
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("%s has %v, %v", dir, left, err)
		}
	}
	if _, err := Write(config, []string{missing}, r); !errors.Is(err, ErrNowhere) {
		t.Errorf("nowhere: %v", err)
	}
}

// What a process leaves that is killed tells nobody anything, and goes.
func TestKilled(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv("FANJET_TEST_RUNFILE"); dir != "" {
		return // TestLeave is what is wanted
	}
	dir := t.TempDir()
	folders := []string{filepath.Join(dir, "run")}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestLeave$")
	cmd.Env = append(os.Environ(), "FANJET_TEST_RUNFILE="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // it has written
		t.Fatal(err)
	}
	config := filepath.Join(dir, "fanjet.yaml")
	if found := Find(config, folders); len(found) != 1 || found[0].PID != cmd.Process.Pid {
		t.Errorf("while it lives: %+v", found)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if found := Find(config, folders); len(found) != 0 {
		t.Errorf("after it was killed: %+v", found)
	}
	f, err := Write(filepath.Join(dir, "other.yaml"), folders, Record{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Remove()
	if left, _ := filepath.Glob(filepath.Join(dir, "run", "*")); len(left) != 1 {
		t.Errorf("after the next start there are %v", left)
	}
}

// TestLeave is the process that TestKilled kills.
func TestLeave(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("FANJET_TEST_RUNFILE")
	if dir == "" {
		return
	}
	if _, err := Write(filepath.Join(dir, "fanjet.yaml"), []string{filepath.Join(dir, "run")}, Record{}); err != nil {
		t.Fatal(err)
	}
	fmt.Print("!")
	<-t.Context().Done() // it is killed
}

// A folder that others may write to, and a file of another network, are not believed.
func TestNotBelieved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "fanjet.yaml")
	f, err := Write(config, []string{open}, Record{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Remove()
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if found := Find(config, []string{open}); len(found) != 0 {
		t.Errorf("in a folder that everybody may write to: %+v", found)
	}
	if _, err := Write(config, []string{open}, Record{}); !errors.Is(err, ErrNowhere) {
		t.Errorf("it was written there, too: %v", err)
	}
	if err := os.Chmod(open, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Record){
		"another network": func(r *Record) { r.Network = "net:[1]" },
	} {
		var r Record
		data, err := os.ReadFile(f.copies[0].path)
		if err != nil || json.Unmarshal(data, &r) != nil {
			t.Fatal(err)
		}
		change(&r)
		if data, err = json.Marshal(r); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.copies[0].path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if found := Find(config, []string{open}); len(found) != 0 {
			t.Errorf("%s: %+v", name, found)
		}
	}
}
