package config

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// locate translates a place inside the text of a scalar (line and column from
// 1, in characters) into a place in the file. YAML folds lines, drops
// indentation and knows escapes, so the text and the file are walked side by
// side; white space is not compared. Where they do not fit, it is the place of
// the scalar itself.
func (n *node) locate(line, column int) (fileLine, fileColumn int) {
	c, ok := newCursor(n)
	if !ok {
		return n.line, n.column
	}
	text, target := []rune(n.text), 0
	for target = 0; line > 1 && target < len(text); target++ {
		if text[target] == '\n' {
			line--
		}
	}
	target = min(target+max(column-1, 0), len(text))
	for i, r := range text[:min(target+1, len(text))] {
		if unicode.IsSpace(r) {
			continue
		}
		if !c.seek() {
			return n.line, n.column
		}
		if i == target {
			return c.line, c.column
		}
		if got := c.char(); got != r && got != escaped {
			return n.line, n.column
		}
	}
	// The target is white space or the end: right behind the last character.
	return c.line, c.column
}

// escaped stands for a character that is written as an escape.
const escaped = unicode.ReplacementChar

// cursor reads the characters of a scalar in its file.
type cursor struct {
	text         string // the rest of the file
	line, column int    // of its beginning
	quote        byte   // ' or ", else 0
}

// newCursor returns a cursor at the first character of a scalar, behind its
// quote or the header of its block; not ok if there is none.
func newCursor(n *node) (c cursor, ok bool) {
	c = cursor{text: n.source.from(n.line), line: n.line, column: 1}
	for c.column < n.column && c.line == n.line && c.text != "" {
		c.next()
	}
	if c.text == "" || c.line != n.line {
		return c, false
	}
	switch first := c.text[0]; {
	case first == '"' || first == '\'':
		c.quote = first
		c.next()
	case n.quoted: // a block: its text begins in the next line
		for c.text != "" && c.line == n.line {
			c.next()
		}
	}
	return c, true
}

// next goes over one character and returns it. There must be one.
func (c *cursor) next() rune {
	r, size := utf8.DecodeRuneInString(c.text)
	c.text = c.text[size:]
	c.column++
	if r == '\n' {
		c.line, c.column = c.line+1, 1
	}
	return r
}

// seek goes to the next character that is not white space, however that is
// written; false at the end.
func (c *cursor) seek() bool {
	for c.text != "" {
		r, _ := utf8.DecodeRuneInString(c.text)
		switch {
		case unicode.IsSpace(r):
		case c.quote == '"' && r == '\\' && len(c.text) > 1 && strings.IndexByte("nrtvf \t\r\n_NLP", c.text[1]) >= 0:
			c.next()
		default:
			return true
		}
		c.next()
	}
	return false
}

// char reads one character.
func (c *cursor) char() rune {
	r := c.next()
	switch {
	case c.quote == '\'' && r == '\'' && c.text != "": // written twice
		c.next()
	case c.quote == '"' && r == '\\' && c.text != "":
		digits := map[rune]int{'x': 2, 'u': 4, 'U': 8}[c.next()]
		for ; digits > 0 && c.text != ""; digits-- {
			c.next()
		}
		return escaped
	}
	return r
}

// from is the text of the file from a line on.
func (s *source) from(line int) string {
	if s.lines == nil {
		s.lines = []int{0}
		for i := range len(s.text) {
			if s.text[i] == '\n' {
				s.lines = append(s.lines, i+1)
			}
		}
	}
	if line > len(s.lines) {
		return ""
	}
	return s.text[s.lines[line-1]:]
}
