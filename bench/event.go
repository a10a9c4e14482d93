package main

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
)

// A body begins with the number of the event among those of its subject, at a
// fixed place, so that the receiver can tell events apart without parsing.
const (
	bodyHead   = `{"n":"`
	bodyDigits = 10
	bodyTail   = `"}`
	bodyMiddle = `","pad":"`

	// headLength is how much of a body the receiver looks at.
	headLength = len(bodyHead) + bodyDigits
	minSize    = headLength + len(bodyMiddle) + len(bodyTail)
)

// body is JSON of size bytes, or as few as it can be.
func body(n, size int) []byte {
	b := make([]byte, 0, max(size, minSize))
	b = fmt.Appendf(b, "%s%0*d%s", bodyHead, bodyDigits, n, bodyMiddle)
	for len(b) < size-len(bodyTail) {
		b = append(b, 'a'+byte(len(b)%26))
	}
	return append(b, bodyTail...)
}

// number reads the number of an event from the head of its body.
func number(head []byte) (int, bool) {
	if len(head) != headLength || !bytes.HasPrefix(head, []byte(bodyHead)) {
		return 0, false
	}
	n, err := strconv.Atoi(string(head[len(bodyHead):]))
	return n, err == nil && n >= 0
}

// event is the n-th event of subject j, as a producer publishes it.
func event(j, n, size int) *nats.Msg {
	return &nats.Msg{
		Subject: subject(j),
		Header:  nats.Header{nats.MsgIdHdr: {fmt.Sprintf("s%d-%d", j, n)}},
		Data:    body(n, size),
	}
}
