package wire

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strconv"
	"time"
)

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// digest is the hash behind every identity. It takes parts, each of which is
// preceded by its length, so that no two lists of parts run together. Usual
// parts stay on the stack: identities are made several times for a delivery.
type digest struct {
	buf  [256]byte
	used int
	long []byte // everything so far, once it is longer than buf
}

const (
	digestLen   = 26 // characters
	digestBytes = 20 // of the hash; enough for those characters
)

func (d *digest) write(part []byte) {
	need := 8 + len(part)
	if d.long == nil && d.used+need <= len(d.buf) {
		binary.BigEndian.PutUint64(d.buf[d.used:], uint64(len(part)))
		copy(d.buf[d.used+8:], part)
		d.used += need
		return
	}
	if d.long == nil {
		d.long = append(make([]byte, 0, 2*(d.used+need)), d.buf[:d.used]...)
	}
	d.long = binary.BigEndian.AppendUint64(d.long, uint64(len(part)))
	d.long = append(d.long, part...)
}

func (d *digest) text(part string) { d.write([]byte(part)) }

func (d *digest) nanos(t time.Time) {
	var scratch [20]byte
	d.write(strconv.AppendInt(scratch[:0], t.UnixNano(), 10))
}

func (d *digest) position(p Position) {
	var scratch [20]byte
	d.text(p.Stream)
	d.nanos(p.Created)
	d.write(strconv.AppendUint(scratch[:0], p.Sequence, 10))
	d.nanos(p.Stored)
}

// sum returns the digest, after a prefix.
func (d *digest) sum(prefix string) string {
	data := d.buf[:d.used]
	if d.long != nil {
		data = d.long
	}
	hash := sha256.Sum256(data)
	var text [32]byte
	base32Lower.Encode(text[:], hash[:digestBytes])
	var out [len(eventPrefix) + digestLen]byte
	return string(append(append(out[:0], prefix...), text[:digestLen]...))
}
