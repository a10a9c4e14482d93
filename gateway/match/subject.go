package match

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckSubject reports why a pattern is not a NATS subject that a subscription
// can use, nil if it is one. A pattern consists of tokens between dots; * as a
// token stands for any one token, > as the last one for one token or more.
//
// It is stricter than the server in one point: there, foo* is a token of its
// own that matches nothing but foo*, which is never what was meant.
func CheckSubject(pattern string) error {
	if pattern == "" {
		return errors.New("the subject is empty")
	}
	if !utf8.ValidString(pattern) {
		return fmt.Errorf("subject %q is not valid UTF-8", pattern)
	}
	for _, r := range pattern {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			return fmt.Errorf("subject %q contains %q; spaces and control characters are not allowed", pattern, r)
		}
	}
	tokens := strings.Split(pattern, ".")
	for i, token := range tokens {
		switch {
		case token == "":
			return fmt.Errorf("subject %q has an empty token; remove the extra dot", pattern)
		case token == ">":
			if i != len(tokens)-1 {
				return fmt.Errorf("subject %q: > must be the last token", pattern)
			}
		case token != "*" && strings.ContainsAny(token, "*>"):
			return fmt.Errorf("subject %q: %q is no wildcard; * and > stand for whole tokens", pattern, token)
		}
	}
	return nil
}
