package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// report is the JSON that -json writes.
type report struct {
	Started   time.Time         `json:"started"`
	Machine   machine           `json:"machine"`
	Drain     []drainResult     `json:"drain,omitempty"`
	Latency   []latencyResult   `json:"latency,omitempty"`
	Isolation []isolationResult `json:"isolation,omitempty"`
	Scale     *scaleResult      `json:"scale,omitempty"`
	Backlog   []backlogResult   `json:"backlog,omitempty"`
	Kill      []killResult      `json:"kill,omitempty"`
}

// machine is where and with what the figures came about.
type machine struct {
	CPU  string `json:"cpu,omitempty"`
	CPUs int    `json:"cpus"`
	OS   string `json:"os"`
	Arch string `json:"arch"`
	Go   string `json:"go"`
	NATS string `json:"nats_server"`
}

func newReport() *report {
	return &report{
		Started: time.Now().UTC().Truncate(time.Second),
		Machine: machine{
			CPU: cpuModel(), CPUs: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH,
			Go: runtime.Version(), NATS: server.VERSION,
		},
	}
}

// cpuModel is what Linux calls the processor.
func cpuModel() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if name, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (m machine) String() string {
	return fmt.Sprintf("%d CPUs, %s/%s, %s, nats-server %s", m.CPUs, m.OS, m.Arch, m.Go, m.NATS)
}

// write writes the report to a file; an empty path writes nothing.
func (r *report) write(path string) error {
	if path == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644) //nolint:gosec // figures are no secret
}

// faultsError is what a mode ends with when a pair of an event and a healthy
// endpoint was not exactly one request.
func (f faults) err() error {
	if f.total() == 0 {
		return nil
	}
	return fmt.Errorf("not every event reached every healthy endpoint once: %d missing, %d repeated, %d that were not theirs",
		f.Missing, f.Repeated, f.Strange)
}
