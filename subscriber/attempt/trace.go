package attempt

import "strings"

// Bounds of a tracestate (W3C Trace Context, sections 3.3.1 and 3.3.1.5).
const (
	maxTraceMembers   = 32
	maxTraceState     = 512 // bytes; who is longer is shortened
	longTraceMember   = 128 // bytes; such ones go first
	maxTraceKey       = 256
	maxTraceTenant    = 241
	maxTraceSystem    = 14
	maxTraceValue     = 256
	traceparentLength = 55
)

// validTraceparent checks a traceparent (W3C Trace Context, section 3.2).
func validTraceparent(s string) bool {
	const trace, parent, flags = 3, 36, 53
	if len(s) != traceparentLength || s[trace-1] != '-' || s[parent-1] != '-' || s[flags-1] != '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if i != trace-1 && i != parent-1 && i != flags-1 && !isDigit(c) && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s[:trace-1] != "ff" && strings.Trim(s[trace:parent-1], "0") != "" && strings.Trim(s[parent:flags-1], "0") != ""
}

// traceState is the tracestate that its lines make; empty if there is none, or if
// it is not valid. Of members with the same key the first stays.
func traceState(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	var members [maxTraceMembers]string
	n, verbatim := 0, len(lines) == 1
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			member = strings.Trim(member, " \t")
			if member == "" { // allowed, as it is hard to avoid
				verbatim = false
				continue
			}
			key, value, ok := strings.Cut(member, "=")
			if !ok || !validTraceKey(key) || !validTraceValue(value) {
				return ""
			}
			if hasTraceKey(members[:n], key) {
				verbatim = false
				continue
			}
			if n == maxTraceMembers {
				return ""
			}
			members[n] = member
			n++
		}
	}
	if verbatim && len(lines[0]) <= maxTraceState {
		return strings.Trim(lines[0], " \t")
	}
	return joinTraceState(members[:n])
}

// joinTraceState leaves out what is too much: first long members, then the last.
func joinTraceState(members []string) string {
	total := 0
	for _, m := range members {
		total += len(m) + len(",")
	}
	for _, most := range [...]int{longTraceMember, 0} {
		for i := len(members) - 1; i >= 0 && total-len(",") > maxTraceState; i-- {
			if len(members[i]) > most {
				total -= len(members[i]) + len(",")
				members[i] = ""
			}
		}
	}
	var out strings.Builder
	for _, m := range members {
		if m == "" {
			continue
		}
		if out.Len() > 0 {
			out.WriteByte(',')
		}
		out.WriteString(m)
	}
	return out.String()
}

func hasTraceKey(members []string, key string) bool {
	for _, m := range members {
		if len(m) > len(key) && m[len(key)] == '=' && m[:len(key)] == key {
			return true
		}
	}
	return false
}

// validTraceKey knows keys of a system, and of a tenant of one: tenant@system.
func validTraceKey(key string) bool {
	tenant, system, shared := strings.Cut(key, "@")
	if !shared {
		return len(key) <= maxTraceKey && isTraceName(key) && !isDigit(key[0])
	}
	return len(tenant) <= maxTraceTenant && isTraceName(tenant) &&
		len(system) <= maxTraceSystem && isTraceName(system) && !isDigit(system[0])
}

func isTraceName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || isDigit(c) || i > 0 && (c == '_' || c == '-' || c == '*' || c == '/') {
			continue
		}
		return false
	}
	return s != ""
}

func validTraceValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == ',' || c == '=' {
			return false
		}
	}
	return s != "" && len(s) <= maxTraceValue
}
