package egress

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// encodeURL percent-encodes what may not stand in the path and the query of a
// URL (RFC 3986, sections 3.3 and 3.4), as receivers that keep to it answer 400:
// Node to every byte that is not ASCII. What is encoded already stays as it is,
// also the case of its digits; a % that encodes nothing is a % and becomes %25.
// Nothing is decoded or reordered, and what comes out comes out unchanged again.
// The host is left to others.
//
// It refuses what cannot be meant, or cannot be sent.
func encodeURL(text string) (string, error) {
	switch {
	case !utf8.ValidString(text):
		return "", errors.New("is not valid UTF-8: write bytes that are no text as %XX")
	case strings.ContainsFunc(text, unicode.IsControl):
		return "", errors.New("contains a line break or another control character: remove it")
	case strings.ContainsFunc(text, isInvisible):
		return "", errors.New("contains an invisible character: remove it, or write its bytes as %XX if it is meant")
	case strings.TrimSpace(text) != text:
		return "", errors.New("begins or ends with a space: remove it, or write it as %20")
	}
	begin := endOfAuthority(text)
	if strings.Contains(text[:begin], " ") {
		return "", errors.New("contains a space in front of its path: remove it")
	}
	more := 0
	for i := begin; i < len(text); i++ {
		if !standsInURL(text, i) {
			more += len("%XX") - 1
		}
	}
	if more == 0 {
		return text, nil
	}
	const digits = "0123456789ABCDEF"
	out := make([]byte, 0, len(text)+more)
	out = append(out, text[:begin]...)
	for i := begin; i < len(text); i++ {
		if c := text[i]; standsInURL(text, i) {
			out = append(out, c)
		} else {
			out = append(out, '%', digits[c>>4], digits[c&15])
		}
	}
	return string(out), nil
}

// isInvisible reports whether r is a character that nobody sees, such as one that
// came along when a URL was copied. Joiners belong to some scripts, and to emoji.
func isInvisible(r rune) bool {
	const nonJoiner, joiner = '\u200c', '\u200d'
	return unicode.Is(unicode.Cf, r) && r != nonJoiner && r != joiner
}

// endOfAuthority is where the path, the query or a fragment of a URL begins.
func endOfAuthority(text string) int {
	_, rest, ok := strings.Cut(text, "//")
	if !ok {
		rest = text
	}
	return len(text) - len(rest) + strings.IndexAny(rest+"/", "/?#")
}

// standsInURL reports whether the byte at i may stand as it is behind the host.
// A # may, for the sake of the error about fragments.
func standsInURL(text string, i int) bool {
	switch c := text[i]; {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	case c == '%':
		return i+2 < len(text) && isHex(text[i+1]) && isHex(text[i+2])
	default:
		return strings.IndexByte("-._~!$&'()*+,;=:@/?#", c) >= 0
	}
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }
