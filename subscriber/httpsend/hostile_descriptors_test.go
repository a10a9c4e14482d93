//go:build unix

package httpsend

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"fanjet/subscriber/outcome"
)

const descriptorsVariable = "FANJET_TEST_DESCRIPTORS"

// When the process has no descriptors left that is not an endpoint's failure,
// whether they are missing for the connection or for the name.
func TestDescriptorsAreUsedUp(t *testing.T) {
	t.Parallel()
	if os.Getenv(descriptorsVariable) == "" {
		// In a process of its own: here other tests need theirs.
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDescriptorsAreUsedUp$", "-test.v")
		cmd.Env = append(os.Environ(), descriptorsVariable+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	s := receiver(t, func(http.ResponseWriter, *http.Request) {})
	byAddress, byName := testSender(t, s.URL, loopback), testSender(t, "http://name.invalid", loopback)
	var files []*os.File
	limit := syscall.Rlimit{Cur: 64, Max: 64}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			if !errors.Is(err, syscall.EMFILE) {
				t.Fatal(err)
			}
			break
		}
		files = append(files, f)
	}
	for _, sender := range []*Sender{byAddress, byName} {
		if r := try(t.Context(), sender, nil); r.Class != outcome.ClassLocal {
			t.Errorf("%s: %s: %s", sender.url.Host, r.Class, r.Failure())
		}
	}
	for _, f := range files {
		_ = f.Close()
	}
	if r := try(t.Context(), byAddress, nil); r.Class != outcome.Class2xx {
		t.Errorf("with descriptors: %+v", r)
	}
}
