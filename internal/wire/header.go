package wire

import "strings"

// Header returns the values of a header that a producer sent, however the
// producer spelt its name; none if there is no such header. NATS keeps a spelling as it is
// and takes another one for another header, but to HTTP, CloudEvents and W3C
// Trace Context all are the same.
//
// Of several spellings one counts: name as it is given, else the first in byte
// order ("TRACEPARENT", "Traceparent", "tRaceparent"). One whose first value is
// empty counts only if there is no other. So the answer depends on what was
// stored, never on the order of a map.
//
// A message's id and what steers JetStream (Nats-*) are not looked up so: the
// server knows them in one spelling.
func Header(h map[string][]string, name string) []string {
	exact := h[name]
	if len(exact) > 0 && exact[0] != "" {
		return exact
	}
	var found string
	var values []string
	for k, v := range h {
		if len(v) > 0 && equalFold(k, name) && (values == nil || before(k, v, found, values)) {
			found, values = k, v
		}
	}
	return orExact(exact, values)
}

// before reports whether the spelling a goes before b, exactness apart.
func before(a string, valuesA []string, b string, valuesB []string) bool {
	if filled := valuesA[0] != ""; filled != (valuesB[0] != "") {
		return filled
	}
	return a < b
}

// orExact returns the values of the best spelling, or of the exact one if that
// is as good.
func orExact(exact, best []string) []string {
	if len(exact) > 0 && best[0] == "" {
		return exact
	}
	return best
}

// HeaderIndex finds headers like [Header], for those who look for many. It is not
// changed after it was made, and belongs to the headers that it was made of.
type HeaderIndex struct {
	header map[string][]string
	best   map[string][]string // by name in lower case
}

// IndexHeaders makes the index of some headers.
func IndexHeaders(h map[string][]string) HeaderIndex {
	spelling := make(map[string]string, len(h))
	best := make(map[string][]string, len(h))
	for k, v := range h {
		name := lower(k)
		if len(v) > 0 && (best[name] == nil || before(k, v, spelling[name], best[name])) {
			spelling[name], best[name] = k, v
		}
	}
	return HeaderIndex{header: h, best: best}
}

// Header is what the function of that name returns.
func (x HeaderIndex) Header(name string) []string {
	exact := x.header[name]
	if len(exact) > 0 && exact[0] != "" {
		return exact
	}
	return orExact(exact, x.best[lower(name)])
}

// Names of headers are ASCII: letters of other alphabets are compared as they are.

func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && lowerByte(a[i]) != lowerByte(b[i]) {
			return false
		}
	}
	return true
}

func lower(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r >= 'A' && r <= 'Z' }) < 0 {
		return s
	}
	b := []byte(s)
	for i := range b {
		b[i] = lowerByte(b[i])
	}
	return string(b)
}

func lowerByte(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// HeaderValue is the first value of [Header]; empty if there is none.
func HeaderValue(h map[string][]string, name string) string {
	if values := Header(h, name); len(values) > 0 {
		return values[0]
	}
	return ""
}
