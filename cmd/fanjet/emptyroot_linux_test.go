package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// imageUser is the user of the image.
const imageUser = 65532

// staticProgram builds the program as the image has it, or takes the one of the
// folder that FANJET_TEST_PROGRAMS names.
func staticProgram(t *testing.T) (path string) {
	t.Helper()
	if ready := os.Getenv("FANJET_TEST_PROGRAMS"); ready != "" {
		return filepath.Join(ready, "fanjet")
	}
	path = filepath.Join(t.TempDir(), "fanjet")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// emptyRoot is a root folder with nothing in it but the program: no /tmp, no /etc,
// no /proc, no time zones, no certificates, no users. What runs in it is the user of
// the image, and may write in /data alone.
type emptyRoot struct {
	*testing.T
	dir string
}

func newEmptyRoot(t *testing.T, program string) *emptyRoot {
	t.Helper()
	r := &emptyRoot{T: t, dir: t.TempDir()}
	if err := os.Chmod(r.dir, 0o555); err != nil {
		t.Fatal(err)
	}
	r.folder("data", 0o700, imageUser)
	// Not by this process: a file that is open for writing, and be it in a child that
	// is about to become another program, cannot be run.
	path := filepath.Join(r.dir, "fanjet")
	r.change(r.dir, func() error {
		return exec.CommandContext(t.Context(), "install", "-m", "555", program, path).Run()
	})
	t.Cleanup(func() { _ = os.Chmod(r.dir, 0o700) }) // to be removed
	return r
}

// folder makes a folder. Who may do that gives it to a user; else it is the user's
// who runs the tests, who is the one of the image inside.
func (r *emptyRoot) folder(name string, mode os.FileMode, owner int) {
	r.Helper()
	path := filepath.Join(r.dir, name)
	r.change(filepath.Dir(path), func() error { return os.Mkdir(path, 0o700) })
	if os.Getuid() == 0 {
		if err := os.Chown(path, owner, owner); err != nil {
			r.Fatal(err)
		}
	}
	if err := os.Chmod(path, mode); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = os.Chmod(path, 0o700) }) // to be removed
}

func (r *emptyRoot) write(name, text string, mode os.FileMode) {
	r.Helper()
	path := filepath.Join(r.dir, name)
	r.change(filepath.Dir(path), func() error { return os.WriteFile(path, []byte(text), mode) })
	if err := os.Chmod(path, mode); err != nil {
		r.Fatal(err)
	}
}

// change does something in a folder that is read-only before and after.
func (r *emptyRoot) change(folder string, do func() error) {
	r.Helper()
	info, err := os.Stat(folder)
	if err == nil {
		err = os.Chmod(folder, 0o700)
	}
	if err == nil {
		err = do()
	}
	if err == nil {
		err = os.Chmod(folder, info.Mode().Perm())
	}
	if err != nil {
		r.Fatal(err)
	}
}

// command is the program in the root, as the user of the image: as root by a change
// of the root and of the user, else in a user namespace.
func (r *emptyRoot) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/fanjet", args...)
	cmd.Dir = "/"
	cmd.Env = []string{"HOOK_SECRET=" + crashSecret, "SHOP_PASSWORD=correct horse battery"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: r.dir}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: imageUser, Gid: imageUser}
	} else {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: imageUser, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: imageUser, HostID: os.Getgid(), Size: 1}}
	}
	return cmd
}

// run runs a command to its end; env is added to the environment.
func (r *emptyRoot) run(env []string, args ...string) result {
	r.Helper()
	var out, said bytes.Buffer
	cmd := r.command(r.Context(), args...)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	if cmd.ProcessState == nil {
		r.Fatalf("fanjet %s cannot be started in a root of its own: %v (without the rights of root that takes user namespaces)", strings.Join(args, " "), err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), said.String()}
}

// spawn starts a command that goes on until it is ended, and waits for a text.
func (r *emptyRoot) spawn(until string, env []string, args ...string) (said *lines, end func()) {
	r.Helper()
	said = &lines{came: make(chan struct{}, 1)}
	cmd := r.command(context.Background(), args...)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		r.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // ProcessState tells
	}()
	end = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		<-ended
		if !cmd.ProcessState.Success() {
			r.Errorf("fanjet %s: %v\n%s", strings.Join(args, " "), cmd.ProcessState, said)
		}
	})
	r.Cleanup(end)
	for !strings.Contains(said.String(), until) {
		select {
		case <-said.came:
		case <-ended:
			r.Fatalf("fanjet %s ended: %v\n%s", strings.Join(args, " "), cmd.ProcessState, said)
		}
	}
	return said, end
}

// lines is output that is waited for.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	came chan struct{} // gets something when more came
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.came <- struct{}{}:
	default:
	}
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
