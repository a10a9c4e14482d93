package config

import (
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

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
		return d.convertList(src, in, parent, name, 0)
	case *ast.NullNode:
		n.kind = kindNull
	case *ast.StringNode:
		n.kind, n.text = kindScalar, in.Value
		n.quoted = in.Token.Type == token.SingleQuoteType || in.Token.Type == token.DoubleQuoteType
	case *ast.LiteralNode:
		n.kind, n.text, n.quoted = kindScalar, in.Value.Value, true
		if strings.TrimSpace(n.text) == "" {
			n.kind = kindInvalid
			d.errorf(n, `is a block of text with nothing in it: if this is the subject >, put it in quotes, as ">"`)
		}
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		n.kind, n.text = kindScalar, in.GetToken().Value
	case *ast.AnchorNode:
		d.errorf(n, "YAML anchors are not supported: settings that all endpoints share belong in defaults")
	case *ast.AliasNode:
		d.errorf(n, `YAML aliases are not supported: if this is a subject with the wildcard *, put it in quotes, such as "*.paid"`)
	case *ast.TagNode:
		d.errorf(n, "YAML tags are not supported: if this is text that begins with !, such as a filter, put it in quotes; else remove the tag")
	default:
		d.errorf(n, "this kind of YAML value is not supported")
	}
	return n
}

// convertList is convert for a list, whose items are numbered from first.
func (d *decoder) convertList(src *source, in *ast.SequenceNode, parent *node, name string, first int) *node {
	n := at(src, in.GetToken())
	n.kind, n.parent, n.name = kindList, parent, name
	for i, item := range in.Values {
		name := "[" + strconv.Itoa(first+i) + "]"
		if text, ok := splitScalar(item); ok && in.IsFlowStyle {
			whole := at(src, item.(*ast.MappingNode).Values[0].Key.GetToken())
			whole.kind, whole.text, whole.parent, whole.name = kindScalar, text, n, name
			n.items = append(n.items, whole)
			continue
		}
		n.items = append(n.items, d.convert(src, item, n, name))
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
