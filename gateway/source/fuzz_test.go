package source

import (
	"encoding/json"
	"testing"
	"time"
)

// FuzzPosition reads any text as a cursor: it is refused, or what is read is what
// would be written, and covers nothing of another stream and nothing newer.
func FuzzPosition(f *testing.F) {
	f.Add([]byte(`{"created":"2026-01-02T03:04:05.000000006Z","sequence":7,"stored":"2026-01-02T03:04:06Z","delivery":9}`))
	f.Add([]byte(`{"created":"2026-01-02T03:04:05Z","sequence":18446744073709551615,"stored":"9999-12-31T23:59:59.999999999Z"}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"sequence":-1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := readProgress(text)
		if err != nil {
			return
		}
		written, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		again, err := readProgress(written)
		if err != nil || !again.Created.Equal(p.Created) || !again.Stored.Equal(p.Stored) || again.Sequence != p.Sequence || again.Delivery != p.Delivery {
			t.Errorf("%s becomes %s: %v", text, written, err)
		}
		switch {
		case p.covers(p.Created.Add(time.Second), p.Sequence, p.Stored),
			p.Sequence+1 != 0 && p.covers(p.Created, p.Sequence+1, p.Stored),
			p.covers(p.Created, p.Sequence, p.Stored.Add(time.Nanosecond)):
			t.Errorf("%s covers too much", text)
		case !p.covers(p.Created, p.Sequence, p.Stored):
			t.Errorf("%s does not cover its own event", text)
		}
	})
}
