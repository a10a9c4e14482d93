package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a file. The parser takes time and stack that grow with the square
// or the depth of some of them.
const (
	maxFileSize = 16 << 20 // bytes
	maxMapKeys  = 10_000   // of one map inside of an endpoint or a subscription
	maxDepth    = 32       // of [ and { inside each other, and of "- -" in one line
)

// source is a file of the configuration.
type source struct {
	name string // as it is shown
	dir  string // what its relative paths are relative to
	text string

	// limit says which secrets its endpoints may use; nil: any.
	limit *secretLimit

	lines []int // where each line begins in text; made when first needed
}

// parse reads the one YAML document of src. Where there is something wrong it
// reports it, and returns what can still be checked; nil if nothing can.
func (d *decoder) parse(src *source) *node {
	whole := &node{source: src} // stands for the file in messages without a place
	switch {
	case len(src.text) > maxFileSize:
		d.errorf(whole, "the file is larger than %d MiB: split it with include", maxFileSize>>20)
		return nil
	case !utf8.ValidString(src.text):
		d.errorf(firstInvalid(src), "this is not UTF-8 text: save the file as UTF-8")
		return nil
	}
	src.text = strings.TrimPrefix(src.text, "\ufeff") // byte order mark

	return d.parseTokens(src, lexer.Tokenize(src.text), partEntries)
}

// parsePart parses the tokens of a document, or of a part of one. What it
// returns is called name in parent; the items of a list are numbered from first.
func (d *decoder) parsePart(src *source, tokens token.Tokens, parent *node, name string, first int) *node {
	if tk, message := tooComplex(tokens); tk != nil {
		d.errorf(at(src, tk), "%s", message)
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		if syntax, ok := errors.AsType[yaml.Error](err); ok && syntax.GetToken() != nil {
			d.errorf(at(src, syntax.GetToken()), "invalid YAML: %s%s", syntax.GetMessage(), syntaxHint(syntax))
		} else {
			// Its text may repeat a part of the file.
			d.errorf(&node{source: src}, "invalid YAML")
		}
		return nil
	}
	body := d.onlyDocument(src, file)
	switch body := body.(type) {
	case nil:
		return nil
	case *ast.SequenceNode:
		return d.convertList(src, body, parent, name, first)
	default:
		return d.convert(src, body, parent, name)
	}
}

// onlyDocument returns the document of a file that must not have several.
func (d *decoder) onlyDocument(src *source, file *ast.File) ast.Node {
	var found ast.Node
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil || doc.Body.Type() == ast.DirectiveType:
		case found != nil:
			start := doc.Start
			if start == nil {
				start = doc.Body.GetToken()
			}
			d.errorf(at(src, start), "a second YAML document begins here: write one document a file, and use include for more files")
			return nil
		default:
			found = doc.Body
		}
	}
	if found == nil {
		d.errorf(&node{source: src, line: 1, column: 1}, "the file is empty: `fanjet init` writes one to start from")
	}
	return found
}

// firstInvalid is a node that stands for the first byte that is not UTF-8.
func firstInvalid(src *source) *node {
	n := &node{source: src, line: 1, column: 1}
	for i, r := range src.text {
		if _, size := utf8.DecodeRuneInString(src.text[i:]); r == utf8.RuneError && size == 1 {
			break
		}
		if n.column++; r == '\n' {
			n.line, n.column = n.line+1, 1
		}
	}
	return n
}

// at is a node that stands for the place of a token.
func at(src *source, tk *token.Token) *node {
	n := &node{source: src}
	if tk != nil && tk.Position != nil {
		n.line, n.column = max(tk.Position.Line, 1), max(tk.Position.Column, 1)
	}
	return n
}

// syntaxHint adds to the parser's message what is most often meant.
func syntaxHint(err yaml.Error) string {
	switch tk := err.GetToken(); {
	case strings.Contains(tk.Value, "\t"):
		return ": indent with spaces, not tabs"
	case strings.Contains(err.GetMessage(), "alias"), strings.HasPrefix(strings.TrimSpace(tk.Value), ">"), tk.Prev != nil && tk.Prev.Type == token.AliasType:
		return `: put subjects with * or > in quotes, such as "orders.*"`
	case tk.Value == "]", tk.Value == "}":
		return ": a bracket is closed that was not opened"
	}
	for _, h := range syntaxHints {
		if strings.Contains(err.GetMessage(), h.message) {
			return ": " + h.hint
		}
	}
	return ""
}

// syntaxHints say what is meant by messages of the parser; of several whose
// beginning is the same, the longer one comes first.
var syntaxHints = [...]struct{ message, hint string }{
	{"mapping value is not allowed", `a value that contains ": " needs quotes`},
	{"reserved character", "put the value in quotes"},
	{"directive", "put the value in quotes"},
	{"unknown escape character", `put the value in single quotes, where \ has no meaning, or write \\`},
	{"end character of", "the quote that begins here is not closed"},
	{"must be specified", "a bracket or a quote before this is not closed, or a comma is missing"},
	{"flow map", "a { is not closed, or a comma is missing"},
	{"could not find map value", "a { is not closed, or a value is missing"},
	{"unexpected key name", "write keys as key: value, with a colon and a space behind it"},
	{"non-map value", "write keys as key: value, with a colon and a space behind it"},
	{"invalid key", "write keys as key: value, with a colon and a space behind it"},
	{"map key-value is pre-defined", `the value ended with the quote before this: put all of it in quotes of the other kind, as in '"a" == "b"'`},
	{"value is not allowed in this context", "keys of one map begin in the same column: check the indentation"},
	{"block sequence entries", "a list with dashes begins in a line of its own"},
	{"invalid header option", "begin the text in the next line, or leave out the | or >"},
}

// tooComplex finds the first token that exceeds a bound.
func tooComplex(tokens token.Tokens) (*token.Token, string) {
	flow, dashes, line := 0, 0, 0
	var maps []keyCount // the block maps that are open, by column
	for _, tk := range tokens {
		if tk.Position == nil {
			continue
		}
		if tk.Position.Line != line {
			line, dashes = tk.Position.Line, 0
		}
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow = max(flow-1, 0)
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			dashes++
		case token.MappingValueType:
			if flow > 0 || tk.Prev == nil || tk.Prev.Position == nil {
				continue
			}
			if maps = countKey(maps, tk.Prev.Position.Column); maps[len(maps)-1].keys > maxMapKeys {
				return tk, fmt.Sprintf("more than %d keys in one map", maxMapKeys)
			}
		}
		if flow > maxDepth || dashes > maxDepth {
			return tk, fmt.Sprintf("nested deeper than %d levels", maxDepth)
		}
	}
	return nil, ""
}

type keyCount struct{ column, keys int }

// countKey counts a key in the map at column and closes the maps right of it.
func countKey(maps []keyCount, column int) []keyCount {
	for len(maps) > 0 && maps[len(maps)-1].column > column {
		maps = maps[:len(maps)-1]
	}
	if len(maps) == 0 || maps[len(maps)-1].column < column {
		maps = append(maps, keyCount{column: column})
	}
	maps[len(maps)-1].keys++
	return maps
}
