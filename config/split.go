package config

import (
	"slices"

	"github.com/goccy/go-yaml/token"
)

// partEntries is how many endpoints, or subscriptions, are parsed at once. The
// parser takes time that grows with the square of the entries of a map, and
// stack that grows with them; its lexer does not. So it is given the tokens of
// large sections in parts.
const partEntries = 200

// parseTokens parses a document. What its sections consist of is parsed size
// entries at a time. Problems are reported; the result is nil if there is one.
func (d *decoder) parseTokens(src *source, tokens token.Tokens, size int) *node {
	tokens = slices.DeleteFunc(tokens, func(tk *token.Token) bool { return tk.Type == token.CommentType })
	body := tokens
	if len(body) > 1 && body[0].Type == token.DocumentHeaderType && startsLine(body, 1) {
		body = body[1:]
	}
	starts := entries(body)
	if len(starts) == 0 {
		return d.parsePart(src, tokens, nil, "", 0)
	}
	var root *node
	for _, section := range pieces(body, starts, 1) {
		part := d.parseSection(src, section, size)
		if part == nil {
			return nil
		}
		if root == nil {
			root = part
			continue
		}
		root.pairs = append(root.pairs, part.pairs...)
	}
	return root
}

// parseSection parses one entry of the outermost map: a map with one pair.
func (d *decoder) parseSection(src *source, tokens token.Tokens, size int) *node {
	starts := entriesOfValue(tokens)
	if len(starts) <= size {
		return d.parsePart(src, tokens, nil, "", 0)
	}
	section := d.parsePart(src, tokens[:2:2], nil, "", 0)
	if section == nil || len(section.pairs) != 1 {
		return section
	}
	var value *node
	for i, piece := range pieces(tokens[2:], starts, size) {
		part := d.parsePart(src, piece, section, section.pairs[0].value.name, i*size)
		switch {
		case part == nil:
			return nil
		case value == nil:
			value = part
		default:
			value.pairs = append(value.pairs, part.pairs...)
			value.items = append(value.items, part.items...)
		}
	}
	section.pairs[0].value = value
	return section
}

// entriesOfValue returns where the entries of a section's value begin, behind
// the key and its colon, if it is a map or list in lines of its own.
func entriesOfValue(section token.Tokens) []int {
	if len(section) < 4 || section[1].Type != token.MappingValueType || !startsLine(section, 2) {
		return nil
	}
	key, first := section[0].Position.Column, section[2].Position.Column
	if first < key || first == key && section[2].Type != token.SequenceEntryType {
		return nil
	}
	return entries(section[2:])
}

// entries returns where the entries of a map or list begin whose first token is
// the first of tokens; nothing if they are something else, or several documents.
func entries(tokens token.Tokens) []int {
	if len(tokens) < 2 || tokens[0].Position == nil {
		return nil
	}
	list := tokens[0].Type == token.SequenceEntryType
	if !list && tokens[1].Type != token.MappingValueType {
		return nil
	}
	starts, flow := []int{0}, 0
	for i, tk := range tokens {
		if i > 0 && flow == 0 && startsLine(tokens, i) && tk.Position.Column == tokens[0].Position.Column &&
			(tk.Type == token.SequenceEntryType) == list && tk.Type != token.MappingValueType {
			starts = append(starts, i)
		}
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow = max(flow-1, 0)
		case token.DocumentHeaderType, token.DocumentEndType, token.DirectiveType:
			return nil
		}
	}
	return starts
}

// startsLine reports whether a token is the first of its line, and no text of a
// block.
func startsLine(tokens token.Tokens, i int) bool {
	before, tk := tokens[i-1], tokens[i]
	return before.Position != nil && tk.Position != nil && tk.Position.Line > before.Position.Line &&
		before.Type != token.LiteralType && before.Type != token.FoldedType
}

// pieces cuts tokens before every size-th entry.
func pieces(tokens token.Tokens, starts []int, size int) []token.Tokens {
	var cut []token.Tokens
	for i := 0; i < len(starts); i += size {
		end := len(tokens)
		if i+size < len(starts) {
			end = starts[i+size]
		}
		cut = append(cut, tokens[starts[i]:end:end])
	}
	return cut
}
