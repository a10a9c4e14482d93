package httpsend

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/net/http2"

	"fanjet/internal/failpoint"
)

// roundTripStream writes the request and reads the head of the response, over a
// connection that speaks HTTP/2.
func (x *Exchange) roundTripStream(s *http2State) (responseHead, error) {
	x.out = append(x.out[:0], s.out...)
	s.out = s.out[:0]
	x.out = x.appendStream(x.out, s)
	written := s.conn.quiet.RecordsWritten()
	_, failed := s.conn.Write(x.out)
	if failed != nil {
		s.broken = true
		if s.conn.quiet.RecordsWritten() == written {
			// Not one whole record of TLS has left: there is nothing to be understood.
			return responseHead{}, &notTaken{err: failed}
		}
	}
	x.push(s)
	failpoint.Hit(failpoint.RequestSent)
	runtime.Gosched() // as in roundTrip
	head, err := x.readStreamHead(s)
	if failed != nil && !x.answered && !errors.As(err, new(*notTaken)) {
		err = failed
	}
	return head, err
}

// nextFrame reads a frame, and writes more of the body if the receiver takes it
// now. It fails when the stream has come to an end before its time.
func (x *Exchange) nextFrame(s *http2State) (http2.Frame, error) {
	if x.sent < len(x.body) {
		x.push(s)
	}
	f, err := s.next()
	switch {
	case err != nil:
		return nil, err
	case s.last < s.id && x.answered:
		return nil, errTakenBack
	case s.last < s.id:
		return nil, &notTaken{reason: reasonGoAway, err: errGoAway}
	}
	if reset, ok := f.(*http2.RSTStreamFrame); ok && reset.StreamID == s.id {
		refused := reset.ErrCode == http2.ErrCodeRefusedStream && !x.answered
		x.answered = true
		if refused {
			return nil, &notTaken{reason: reasonRefused, err: errRefused}
		}
		return nil, streamError(reset.ErrCode)
	}
	return f, nil
}

// readStreamHead reads heads up to that of the final response.
func (x *Exchange) readStreamHead(s *http2State) (responseHead, error) {
	for informational := 0; ; {
		f, err := x.nextFrame(s)
		if errors.Is(err, io.EOF) {
			err = errNoResponse
		}
		if err != nil {
			return responseHead{}, err
		}
		switch f := f.(type) {
		case *http2.DataFrame:
			return responseHead{}, errors.New("the response begins with its body (HTTP/2)")
		case *http2.MetaHeadersFrame:
			x.answered = true
			head, err := streamHead(f)
			switch {
			case err != nil || head.status >= 200:
				head.close = s.leaving || s.broken
				return head, err
			case f.StreamEnded():
				return head, errInterimBody
			}
			if informational++; informational > maxInformational {
				return head, errInformational
			}
		}
	}
}

// streamHead is the head of a response as in HTTP/1.1.
func streamHead(f *http2.MetaHeadersFrame) (h responseHead, err error) {
	text := f.PseudoValue("status")
	if h.status, err = strconv.Atoi(text); err != nil || len(text) != 3 || h.status < 100 || h.status == 101 {
		return h, fmt.Errorf("the response has no valid status: %.40q", text)
	}
	for _, field := range f.RegularFields() {
		switch value := strings.Trim(field.Value, " \t"); field.Name {
		case "retry-after":
			h.retryAfter = cmp.Or(h.retryAfter, value)
		case "location":
			h.tell(&h.told.Location, []byte(value))
		case "content-type":
			h.tell(&h.told.ContentType, []byte(value))
		case "content-encoding":
			h.tell(&h.told.ContentEncoding, []byte(value))
		}
	}
	if h.length = -1; f.StreamEnded() {
		h.length = 0
	}
	return h, nil
}

// readStream reads from the body of the response.
func (x *Exchange) readStream(s *http2State, p []byte) (int, error) {
	for len(s.data) == 0 {
		if !s.open {
			return 0, io.EOF
		}
		f, err := x.nextFrame(s)
		switch {
		case errors.Is(err, io.EOF):
			return 0, io.ErrUnexpectedEOF
		case err != nil:
			return 0, err
		}
		switch f := f.(type) {
		case *http2.DataFrame:
			s.data = f.Data()
		case *http2.MetaHeadersFrame:
			if s.open { // a trailer is the end
				s.broken = true
				return 0, errStrayFrame
			}
		}
	}
	n := copy(p, s.data)
	s.data = s.data[n:]
	return n, nil
}

// endsAtHand reports whether the end of the response was read already.
func (s *http2State) endsAtHand() bool {
	rest, _ := s.in.Peek(s.in.Buffered())
	for len(rest) >= frameHead {
		length := int(rest[0])<<16 | int(rest[1])<<8 | int(rest[2])
		kind, flags := http2.FrameType(rest[3]), http2.Flags(rest[4])
		if len(rest) < frameHead+length {
			return false
		}
		if (kind == http2.FrameData || kind == http2.FrameHeaders) && flags.Has(http2.FlagDataEndStream) {
			return true
		}
		rest = rest[frameHead+length:]
	}
	return !s.open
}

// frameHead is the length of the head of a frame, in bytes.
const frameHead = 9

// streamError is the code with which a receiver ended a stream that it may have
// looked at.
type streamError http2.ErrCode

func (e streamError) Error() string {
	return "the receiver ended the stream with " + http2.ErrCode(e).String() + " (HTTP/2)"
}
