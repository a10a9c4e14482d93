package config

import (
	"errors"
	"fmt"
	"strconv"
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
	maxFileSize = 2 << 20 // bytes
	maxMapKeys  = 10_000  // of one map
	maxDepth    = 32      // of [ and { inside each other, and of "- -" in one line
)

// source is a file of the configuration.
type source struct {
	name string // as it is shown
	dir  string // what its relative paths are relative to
	text string

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
		d.errorf(whole, "the file is not UTF-8 text")
		return nil
	}
	src.text = strings.TrimPrefix(src.text, "\ufeff") // byte order mark

	tokens := lexer.Tokenize(src.text)
	if tk, message := tooComplex(tokens); tk != nil {
		d.errorf(at(src, tk), "%s", message)
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			d.errorf(at(src, syntax.GetToken()), "invalid YAML: %s%s", syntax.GetMessage(), syntaxHint(syntax))
		} else {
			// Its text may repeat a part of the file.
			d.errorf(whole, "invalid YAML")
		}
		return nil
	}
	body := d.onlyDocument(src, file)
	if body == nil {
		return nil
	}
	return d.convert(src, body, nil, "")
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
	case strings.Contains(err.GetMessage(), "mapping value is not allowed"):
		return `: a value that contains ": " needs quotes`
	case strings.Contains(err.GetMessage(), "reserved character"), strings.Contains(err.GetMessage(), "directive"):
		return ": put the value in quotes"
	}
	return ""
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
				return tk, fmt.Sprintf("more than %d keys in one map: split the file with include", maxMapKeys)
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

// convert turns the parser's tree into ours. What is not supported is reported
// and becomes an invalid node, so that the rest is checked nevertheless.
func (d *decoder) convert(src *source, in ast.Node, parent *node, name string) *node {
	n := at(src, in.GetToken())
	n.parent, n.name = parent, name
	switch in := in.(type) {
	case *ast.MappingNode:
		n.kind = kindMap
		if !in.IsFlowStyle && len(in.Values) > 0 { // its token is the first colon
			first := at(src, in.Values[0].Key.GetToken())
			n.line, n.column = first.line, first.column
		}
		for _, entry := range in.Values {
			key := d.convertKey(src, entry.Key, n)
			if key.kind == kindInvalid {
				continue
			}
			n.pairs = append(n.pairs, pair{key: key, value: d.convert(src, entry.Value, n, pathName(key.text))})
		}
	case *ast.SequenceNode:
		n.kind = kindList
		for i, item := range in.Values {
			name := "[" + strconv.Itoa(i) + "]"
			if text, ok := splitScalar(item); ok && in.IsFlowStyle {
				whole := at(src, item.(*ast.MappingNode).Values[0].Key.GetToken())
				whole.kind, whole.text, whole.parent, whole.name = kindScalar, text, n, name
				n.items = append(n.items, whole)
				continue
			}
			n.items = append(n.items, d.convert(src, item, n, name))
		}
	case *ast.NullNode:
		n.kind = kindNull
	case *ast.StringNode:
		n.kind, n.text = kindScalar, in.Value
		n.quoted = in.Token.Type == token.SingleQuoteType || in.Token.Type == token.DoubleQuoteType
	case *ast.LiteralNode:
		n.kind, n.text, n.quoted = kindScalar, in.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		n.kind, n.text = kindScalar, in.GetToken().Value
	case *ast.AnchorNode:
		d.errorf(n, "YAML anchors are not supported: settings that all endpoints share belong in defaults")
	case *ast.AliasNode:
		d.errorf(n, `YAML aliases are not supported: if this is a subject with the wildcard *, put it in quotes, such as "*.paid"`)
	case *ast.TagNode:
		d.errorf(n, "YAML tags are not supported: remove the tag, and put the value in quotes if it is text")
	default:
		d.errorf(n, "this kind of YAML value is not supported")
	}
	return n
}

// splitScalar undoes a mistake of the parser: in a list inside of { } it takes
// env:NAME or 10.0.0.0/8:443 for a map, although no space follows the colon
// (YAML 1.2, section 7.3.3).
func splitScalar(in ast.Node) (text string, ok bool) {
	m, ok := in.(*ast.MappingNode)
	if !ok || m.IsFlowStyle || len(m.Values) != 1 {
		return "", false
	}
	key, value := m.Values[0].Key, m.Values[0].Value
	if !isPlain(key) || !isPlain(value) {
		return "", false
	}
	colon, next := m.Values[0].GetToken().Position, value.GetToken().Position
	if next.Line != colon.Line || next.Column != colon.Column+1 {
		return "", false
	}
	return key.GetToken().Value + ":" + value.GetToken().Value, true
}

func isPlain(in ast.Node) bool {
	switch in.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		tk := in.GetToken()
		return tk.Position != nil && tk.Type != token.SingleQuoteType && tk.Type != token.DoubleQuoteType
	}
	return false
}

// convertKey returns the key of a map entry.
func (d *decoder) convertKey(src *source, in ast.MapKeyNode, parent *node) *node {
	key := at(src, in.GetToken())
	key.parent, key.name = parent, pathName(in.GetToken().Value)
	switch in := in.(type) {
	case *ast.StringNode:
		key.kind, key.text = kindScalar, in.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
		key.kind, key.text = kindScalar, in.GetToken().Value
	case *ast.MergeKeyNode:
		d.errorf(key, "YAML merge keys (<<) are not supported: settings that all endpoints share belong in defaults")
	default:
		d.errorf(key, "a key must be plain text, without anchors, aliases, tags or ?")
	}
	if key.kind == kindScalar {
		key.name = pathName(key.text)
	}
	return key
}
