package dlq

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
)

// Export writes the letters that the filter selects as JSON Lines: one [Letter]
// a line, oldest first, with headers and body. The body of a letter by
// reference is fetched from the source stream; when that fails the line has
// none, and the outcome counts it as failed.
func (q *Queue) Export(ctx context.Context, f Filter, w io.Writer) (Outcome, error) {
	var t tally
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	for l, err := range q.List(ctx, f) {
		if err != nil {
			return t.result(), err
		}
		if err := q.Resolve(ctx, &l); err != nil {
			t.failed(l.Seq, l.Endpoint, err)
			l.Headers, l.Data = nil, nil
		} else {
			t.done()
		}
		if err := lines.Encode(&l); err != nil {
			return t.result(), fmt.Errorf("writing the letter %d: %w", l.Seq, err)
		}
	}
	return t.result(), nil
}
