package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// cpuSeconds is what this process has used.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// memory of a process in bytes: resident now, and the most that ever was. Both
// are 0 where there is no /proc.
func memory(pid int) (now, peak int64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseInt(string(fields[1]), 10, 64)
		switch string(fields[0]) {
		case "VmRSS:":
			now = kib << 10
		case "VmHWM:":
			peak = kib << 10
		}
	}
	return now, peak
}

const mib = 1 << 20

// cpuOf is the CPU seconds that another process has used; 0 where there is no
// /proc.
func cpuOf(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name of the program, in parentheses, may contain spaces.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	const user, system = 11, 12 // of proc(5), counted from the state
	if len(fields) <= system {
		return 0
	}
	u, _ := strconv.ParseFloat(string(fields[user]), 64)
	s, _ := strconv.ParseFloat(string(fields[system]), 64)
	return (u + s) / ticksPerSecond
}

// ticksPerSecond is the unit of /proc on every platform that Go supports.
const ticksPerSecond = 100
