package attempt

import (
	"bytes"
	"strings"
)

const (
	// leastEvent is how many bytes of the event an answer must repeat to have them
	// hidden. What is shorter, such as a currency, helps more than it tells.
	leastEvent = 10
	// maxCompared is how much of the event is compared, in bytes; answers repeat
	// the beginning.
	maxCompared = 16 << 10
	// maxPlaces bounds the places in the event that are compared with one in the
	// answer.
	maxPlaces = 32
)

// hideEvent takes out of a text what it repeats of the event: logs are read by
// people who may not see events. Of JSON only the values count, so that the names
// of fields, which answers are often about, stay.
func hideEvent(text string, event []byte) string {
	if len(text) < leastEvent || len(event) < leastEvent {
		return text
	}
	values := valuesOf(event[:min(len(event), maxCompared)])
	var out strings.Builder
	at := 0 // what is before it is written
	// Whatever has 2n-1 bytes has a piece of n bytes that begins at a multiple of n.
	const piece = leastEvent / 2
	for i := 0; i+piece <= len(text); {
		begin, end := longestRepeat(text, at, i, piece, values)
		if end-begin < leastEvent {
			i += piece
			continue
		}
		out.WriteString(text[at:begin])
		out.WriteString(hiddenEvent)
		at = end
		i = (end + piece - 1) / piece * piece
	}
	out.WriteString(text[at:])
	return out.String()
}

// longestRepeat is the longest part of text, not before from, that has the n
// bytes at i in it and is in values.
func longestRepeat(text string, from, i, n int, values []byte) (begin, end int) {
	if i < from {
		return i, i
	}
	place := 0
	for range maxPlaces {
		found := bytes.Index(values[place:], []byte(text[i:i+n]))
		if found < 0 {
			break
		}
		place += found
		b, e := 0, n
		for i-b > from && place-b > 0 && text[i-b-1] == values[place-b-1] && values[place-b-1] != 0 {
			b++
		}
		for i+e < len(text) && place+e < len(values) && text[i+e] == values[place+e] && values[place+e] != 0 {
			e++
		}
		if b+e > end-begin {
			begin, end = i-b, i+e
		}
		place++
	}
	return begin, end
}

// valuesOf are the values of some JSON, with a zero between them: strings as they
// are written, and what stands outside of them and of names. What is no JSON is
// returned as it is, each zero apart.
func valuesOf(event []byte) []byte {
	begin := bytes.TrimLeft(event, " \t\r\n")
	if len(begin) == 0 || begin[0] != '{' && begin[0] != '[' {
		return event
	}
	out := make([]byte, 0, len(event))
	for i := 0; i < len(event); {
		switch c := event[i]; c {
		case '"':
			end := i + 1
			for end < len(event) && event[end] != '"' {
				if event[end] == '\\' {
					end++
				}
				end++
			}
			end = min(end, len(event))
			next := bytes.TrimLeft(event[min(end+1, len(event)):], " \t\r\n")
			if len(next) == 0 || next[0] != ':' {
				out = append(append(out, 0), event[i+1:end]...)
			}
			out = append(out, 0)
			i = end + 1
		case ' ', '\t', '\r', '\n', ',', ':', '{', '}', '[', ']':
			out = append(out, 0)
			i++
		default:
			out = append(out, c)
			i++
		}
	}
	return out
}
