package quiet

import (
	"encoding/binary"
	"testing"
)

// Wherever what is read is cut, it is known whether a record is in the middle.
func FuzzRecords(f *testing.F) {
	f.Add([]byte("hello"), uint16(300), uint8(3), uint16(4))
	f.Add([]byte{}, uint16(0), uint8(1), uint16(5))
	f.Fuzz(func(t *testing.T, first []byte, second uint16, piece uint8, cut uint16) {
		first = first[:min(len(first), 1<<16-1)]
		var text []byte
		ends := map[int]bool{0: true}
		for _, payload := range [][]byte{first, make([]byte, second)} {
			text = append(binary.BigEndian.AppendUint16(append(text, 23, 3, 3), uint16(len(payload))), payload...)
			ends[len(text)] = true
		}
		text = text[:min(len(text), int(cut))]
		c := new(RecordConn)
		for read := 0; read < len(text); {
			n := min(1+int(piece), len(text)-read)
			c.follow(text[read : read+n])
			if read += n; c.within() == ends[read] {
				t.Fatalf("after %d bytes of %d: within a record: %v", read, len(text), c.within())
			}
		}
	})
}
