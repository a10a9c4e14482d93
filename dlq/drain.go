package dlq

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"fanjet/internal/failpoint"
)

// DrainOptions control a drain.
type DrainOptions struct {
	DryRun   bool           // count what would be drained; no file is needed
	Progress func(Progress) // called a few times a second, from one goroutine
}

// errNotText means that JSON cannot hold a letter as it is.
var errNotText = errors.New("its subject or a header is not UTF-8, so that a line of JSON cannot hold it")

// Drain moves the letters that the filter selects to a file, oldest first: a letter
// is removed only after its line is on the disk, and exactly those that the file
// has are removed. Letters that arrive after it began stay.
//
// A drain that was interrupted or killed loses nothing, and may be run again with
// the same file: see [OpenDrainFile]. A letter that cannot be written, such as one
// by reference whose event is gone, stays, as a failure of the outcome; the others
// go on. One that was gone when it was to be removed, because a replay, a purge or
// another drain was faster, is skipped; the file has it nevertheless. The error is
// for what stops the whole drain.
func (q *Queue) Drain(ctx context.Context, f Filter, file *DrainFile, o DrainOptions) (Outcome, error) {
	if o.DryRun {
		n, err := q.Count(ctx, f)
		return Outcome{Done: n}, err
	}
	if err := f.Validate(); err != nil {
		return Outcome{}, err
	}
	state, err := q.snapshot(ctx, &f)
	if err != nil {
		return Outcome{}, err
	}
	beside := q.startRemover(f.Endpoint)
	d := &drain{queue: q, file: file}
	defer d.report(o.Progress, nil)()
	err = q.each(ctx, &f, state, 0, func(l Letter) error {
		if err := d.add(ctx, &l); err != nil {
			return err
		}
		if len(d.batch) < pageLetters && len(d.lines) < pageBytes {
			return nil
		}
		return d.flush(ctx)
	})
	if err == nil {
		err = d.flush(ctx)
	}
	return beside.end(d.result()), err
}

// drain is one in progress: what is written next, and removed then.
type drain struct {
	tally
	queue *Queue
	file  *DrainFile
	lines []byte
	batch []Letter // without headers and bodies
}

// add takes a letter into the batch.
func (d *drain) add(ctx context.Context, l *Letter) error {
	err := d.queue.Resolve(ctx, l)
	if err == nil && !isText(l) {
		err = errNotText
	}
	if err != nil {
		d.failed(l.Seq, l.Endpoint, err)
		return ctx.Err()
	}
	text, err := lineText(l)
	if err != nil {
		return err
	}
	if !d.file.has(bytes.TrimSuffix(text, []byte("\n"))) {
		d.lines = append(d.lines, text...)
	}
	l.Headers, l.Data = nil, nil
	d.batch = append(d.batch, *l)
	return nil
}

// flush writes the batch, and removes its letters once they are on the disk.
func (d *drain) flush(ctx context.Context) error {
	if len(d.batch) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err // nothing of it is written, nothing is removed
	}
	if err := d.file.write(d.lines); err != nil {
		return fmt.Errorf("%w; its letters from here on are still in the queue", err)
	}
	failpoint.Hit(failpoint.DrainSynced)
	err := d.removeBatch(ctx)
	d.lines, d.batch = d.lines[:0], d.batch[:0]
	return err
}

// removeBatch removes the letters of the batch. Once ctx has ended it goes on for
// the grace: what is on the disk had better not stay in the queue.
func (d *drain) removeBatch(ctx context.Context) error {
	removing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() {
		select {
		case <-time.After(d.queue.grace):
			stop()
		case <-removing.Done():
		}
	})()
	failures := make(chan error, len(d.batch))
	removals, finish := d.queue.startRemovers(removing, len(d.batch))
	for i := range d.batch {
		l := &d.batch[i]
		removals <- removal{seq: l.Seq, after: func(gone bool, err error) {
			switch {
			case err != nil:
				d.failed(l.Seq, l.Endpoint, fmt.Errorf("it is in %s, but could not be removed; drain again to go on: %w", d.file.path, err))
				failures <- err
			case gone:
				d.skipped()
			default:
				d.done()
			}
		}}
	}
	finish()
	close(failures)
	return <-failures // the first one; nil if there is none
}

// lineText is a letter as a line of JSON, with its end.
func lineText(l *Letter) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(l); err != nil {
		return nil, fmt.Errorf("writing the letter %d: %w", l.Seq, err)
	}
	return text.Bytes(), nil
}

// isText reports whether JSON holds a letter as it is: what is not UTF-8 it
// would replace.
func isText(l *Letter) bool {
	for name, values := range l.Headers {
		for _, value := range values {
			if !utf8.ValidString(value) {
				return false
			}
		}
		if !utf8.ValidString(name) {
			return false
		}
	}
	return utf8.ValidString(l.Subject) && utf8.ValidString(l.EventID) && utf8.ValidString(l.Source)
}
