package config

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"fanjet/internal/slip"
)

// decoder turns nodes into values. It never stops at a problem: it reports it,
// leaves the value as it is, and goes on.
type decoder struct {
	problems, warnings []Problem
}

// secretText is what a secret looks like, should one stand where none belongs.
// The pattern whsec_* is none.
var secretText = regexp.MustCompile(`whs(ec|k)_[^\s"',\]}*][^\s"',\]}]*`)

func problemAt(n *node, format string, args ...any) Problem {
	message := fmt.Sprintf(format, args...)
	if path := n.path(); path != "" {
		message = path + ": " + message
	}
	message = secretText.ReplaceAllString(message, "whs${1}_[redacted]")
	return Problem{File: n.source.name, Line: n.line, Column: n.column, Message: strings.Map(oneLine, message)}
}

// oneLine replaces what would break a line or a terminal.
func oneLine(r rune) rune {
	if unicode.IsControl(r) {
		return ' '
	}
	return r
}

// errorf reports that something is wrong at n. The message follows n's path:
// it says what is wrong and what to do, and never repeats a secret, a URL or
// the value of a header.
func (d *decoder) errorf(n *node, format string, args ...any) {
	d.problems = append(d.problems, problemAt(n, format, args...))
}

// warnf reports what can be run with, but is probably not meant.
func (d *decoder) warnf(n *node, format string, args ...any) {
	d.warnings = append(d.warnings, problemAt(n, format, args...))
}

// fields are the keys of a map and what reads their values.
type fields map[string]func(*node)

// fields reads a map with known keys. A key without a value is the same as one
// that is left out.
func (d *decoder) fields(n *node, known fields) {
	for _, p := range d.entries(n) {
		read, ok := known[p.key.text]
		if !ok {
			d.errorf(p.key, "unknown key%s", slip.DidYouMean(p.key.text, slices.Collect(maps.Keys(known))))
			continue
		}
		if p.value.kind != kindNull {
			read(p.value)
		}
	}
}

// entries returns the entries of a map, without those whose key came before.
func (d *decoder) entries(n *node) []pair {
	if !d.is(n, kindMap) {
		return nil
	}
	first := make(map[string]*node, len(n.pairs))
	entries := make([]pair, 0, len(n.pairs))
	for _, p := range n.pairs {
		if before, ok := first[p.key.text]; ok {
			d.errorf(p.key, "is set twice, first at %s: remove one of them", before.place())
			continue
		}
		first[p.key.text] = p.key
		entries = append(entries, p)
	}
	return entries
}

// list returns the items of a list.
func (d *decoder) list(n *node) []*node {
	if !d.is(n, kindList) {
		return nil
	}
	return n.items
}

// is reports whether n is of a kind, and reports a problem if it is not.
func (d *decoder) is(n *node, want kind) bool {
	if n.kind != want && n.kind != kindInvalid {
		hint := ""
		switch {
		case want == kindList && n.kind == kindScalar:
			hint = ": write it in [ ]"
		case want == kindList && n.kind == kindMap:
			hint = ": begin each entry with a dash"
		case want == kindMap && n.kind == kindList:
			hint = ": write keys, without dashes"
		}
		d.errorf(n, "must be %s, not %s%s", want, n.kind, hint)
	}
	return n.kind == want
}

// text reads any single value as the text that is written.
func (d *decoder) text(n *node) (string, bool) {
	if !d.is(n, kindScalar) {
		return "", false
	}
	return n.text, true
}

// texts reads a list of distinct single values, and hands each that is not
// empty to read.
func (d *decoder) texts(n *node, read func(item *node, text string)) {
	seen := make(map[string]bool)
	for _, item := range d.list(n) {
		text, ok := d.text(item)
		switch {
		case !ok:
		case text == "":
			d.errorf(item, "is empty: remove it")
		case seen[text]:
			d.errorf(item, "is in the list already: remove it")
		default:
			seen[text] = true
			read(item, text)
		}
	}
}

// boolean reads true or false.
func (d *decoder) boolean(n *node, v *bool) {
	if text, ok := d.text(n); ok {
		if n.quoted || text != "true" && text != "false" {
			d.errorf(n, "must be true or false, not %s", quote(text))
			return
		}
		*v = text == "true"
	}
}

// integer reads a whole number from least to most.
func (d *decoder) integer(n *node, v *int, least, most int) {
	text, ok := d.text(n)
	if !ok {
		return
	}
	number, err := strconv.Atoi(text)
	if n.quoted || err != nil || number < least || number > most {
		d.errorf(n, "must be a whole number from %d to %d, not %s", least, most, shown(n))
		return
	}
	*v = number
}

// share reads a number from 0 to 1.
func (d *decoder) share(n *node, v *float64) {
	text, ok := d.text(n)
	if !ok {
		return
	}
	number, err := strconv.ParseFloat(text, 64)
	if n.quoted || err != nil || math.IsNaN(number) || number < 0 || number > 1 {
		d.errorf(n, "must be a number from 0 to 1, not %s", shown(n))
		return
	}
	*v = number
}

// span bounds a duration.
type span struct {
	least, most time.Duration
	zero        bool // 0 is allowed besides: none
}

// duration reads a duration such as 1m30s or 7d.
func (d *decoder) duration(n *node, v *time.Duration, bounds span) {
	text, ok := d.text(n)
	if !ok {
		return
	}
	value, err := parseDuration(text)
	switch {
	case err != nil:
		d.errorf(n, "%v", err)
	case value == 0 && bounds.zero:
		*v = 0
	case value < bounds.least || value > bounds.most:
		besides := ""
		if bounds.zero {
			besides = ", or 0 for none"
		}
		d.errorf(n, "must be a duration from %s to %s%s, not %s",
			formatDuration(bounds.least), formatDuration(bounds.most), besides, shown(n))
	default:
		*v = value
	}
}

// size reads a number of bytes such as 1048576 or 10GiB; 0 means no limit.
func (d *decoder) size(n *node, v *int64) {
	text, ok := d.text(n)
	if !ok {
		return
	}
	value, err := parseSize(text)
	if err != nil {
		d.errorf(n, "%v", err)
		return
	}
	*v = value
}

// oneOf reads one of at least two words.
func (d *decoder) oneOf(n *node, words ...string) (string, bool) {
	text, ok := d.text(n)
	if !ok {
		return "", false
	}
	if !slices.Contains(words, text) {
		last := len(words) - 1
		d.errorf(n, "must be %s or %s, not %s", strings.Join(words[:last], ", "), words[last], quote(text))
		return "", false
	}
	return text, true
}

// shown repeats a scalar in a message, with its quotes if it has them.
func shown(n *node) string {
	if n.quoted || n.text == "" || len(n.text) > maxQuoted {
		return quote(n.text)
	}
	return n.text
}
