package subscriber

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	// connWindow is what a receiver may send over a connection before it is told
	// that it may send more, in bytes. Of a stream that is maxResponseBody.
	connWindow = 1 << 20
	// firstWindow is what either side may send until it is told otherwise (RFC 9113,
	// 6.9.2).
	firstWindow = 1<<16 - 1
	// maxFrame is the largest frame that is read or written, in bytes: every receiver
	// takes it (RFC 9113, 4.2).
	maxFrame = 16 << 10
	// maxStream is the last stream that a connection is used for; there can be twice
	// as many.
	maxStream = 1<<30 - 1
	// idleReading is how long what came over an idle connection may take to be read.
	// Mostly it is there.
	idleReading = 5 * time.Millisecond
)

// stream2 is what a connection that speaks HTTP/2 (RFC 9113) is beside that.
//
// It carries one request at a time, as one that speaks HTTP/1.1 does, and is kept
// with those. More would be allowed, but who breaks a connection breaks everything on
// it, and some servers do that at every reload: when the next request crosses
// their farewell, they drop the ones that they are working on. So nobody but the
// attempt reads it, and while it is idle nobody does: what came is read before
// it is used again, and a connection whose end was announced is not.
type stream2 struct {
	conn   *conn
	in     *bufio.Reader
	framer *http2.Framer // reads; what is written is put together here
	out    []byte        // frames that have to be written

	id      uint32 // of the latest stream
	open    bool   // the receiver has not ended it
	data    []byte // of its response, and not taken yet
	greeted bool   // the receiver's settings have come
	leaving bool   // it has announced the end of the connection,
	last    uint32 // and that this is the last stream that it may have looked at
	broken  bool   // nothing can be written any more, or what is read makes no sense

	// What the receiver may send: over the connection, and on the stream.
	mayComeConn, mayComeStream int
	// What it takes: likewise, on a new stream, and how many of these at once.
	mayGoConn, mayGoStream, mayGoFirst int64
	streams                            uint32
}

// newStream2 begins to speak HTTP/2: the beginning goes ahead of the first request.
func newStream2(c *conn) *stream2 {
	s := &stream2{
		conn: c, in: bufio.NewReaderSize(c, readBuffer),
		last:        math.MaxInt32,
		mayComeConn: connWindow,
		mayGoConn:   firstWindow, mayGoFirst: firstWindow,
		streams: math.MaxUint32,
	}
	s.framer = http2.NewFramer(nil, s.in)
	s.framer.SetReuseFrames()
	s.framer.SetMaxReadFrameSize(maxFrame)
	s.framer.ReadMetaHeaders = hpack.NewDecoder(4<<10, nil)
	s.framer.MaxHeaderListSize = maxResponseHeader
	s.out = append(s.out, http2.ClientPreface...)
	s.out = appendFrame(s.out, http2.FrameSettings, 0, 0, 3*6)
	s.out = appendSetting(s.out, http2.SettingEnablePush, 0)
	s.out = appendSetting(s.out, http2.SettingInitialWindowSize, maxResponseBody)
	s.out = appendSetting(s.out, http2.SettingMaxHeaderListSize, maxResponseHeader)
	s.out = appendWindow(s.out, connWindow-firstWindow)
	return s
}

// appendFrame appends the head of a frame.
func appendFrame(b []byte, kind http2.FrameType, flags http2.Flags, stream uint32, length int) []byte {
	b = append(b, byte(length>>16), byte(length>>8), byte(length), byte(kind), byte(flags))
	return binary.BigEndian.AppendUint32(b, stream)
}

func appendSetting(b []byte, id http2.SettingID, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, uint16(id)), value)
}

// appendWindow lets the receiver send more over the connection.
func appendWindow(b []byte, more int) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, http2.FrameWindowUpdate, 0, 0, 4), uint32(more))
}

// reusable reports whether another request may go over the connection, as far as
// is known.
func (s *stream2) reusable() bool {
	return !s.leaving && !s.broken && !s.open && s.id < maxStream
}

// ready reads what came while the connection was idle, and reports whether a
// request can go over it.
func (s *stream2) ready() bool {
	limit := time.Now().Add(idleReading)
	for s.reusable() {
		switch quiet, err := s.quiet(); {
		case quiet:
			return true
		case err != nil || time.Now().After(limit):
			return false
		}
		_ = s.conn.SetDeadline(limit)
		if _, err := s.in.Peek(1); err != nil {
			if isTimeout(err) {
				continue // it was for TLS only, or is a part of a record
			}
			return false
		}
		if _, err := s.next(); err != nil {
			return false
		}
	}
	return false
}

// quiet reports whether nothing was sent that was not read. An error is the end of
// the connection.
func (s *stream2) quiet() (bool, error) {
	if s.in.Buffered() > 0 || s.conn.waiting() {
		return false, nil
	}
	_ = s.conn.SetReadDeadline(time.Unix(1, 0)) // keeps TLS from the socket, see conn.usable
	if _, err := s.in.Peek(1); !isTimeout(err) {
		return false, err
	}
	return !s.conn.within(), nil
}

// arrived reports whether there is something to be read, or the end. What came for
// TLS only does not count. deadline is that of the connection.
func (s *stream2) arrived(deadline time.Time) bool {
	switch {
	case s.in.Buffered() > 0:
		return true
	case !s.conn.waiting():
		return false
	}
	looks := s.conn.looks
	s.conn.looks = false
	_ = s.conn.SetReadDeadline(earlier(deadline, time.Now().Add(idleReading)))
	_, err := s.in.Peek(1)
	_ = s.conn.SetReadDeadline(deadline)
	s.conn.looks = looks
	return !isTimeout(err)
}

var (
	errNotHTTP2   = errors.New("the receiver agreed to speak HTTP/2, and does not begin with its settings")
	errStrayFrame = errors.New("the receiver sends a response that belongs to no request (HTTP/2)")
	errWindow     = errors.New("the receiver does not keep to the flow control of HTTP/2")
	errPush       = errors.New("the receiver promises what it must not (HTTP/2)")
)

// next reads a frame and does what belongs to the connection. The frame is valid
// until the next one is read. An error leaves a connection that cannot be used.
func (s *stream2) next() (http2.Frame, error) {
	f, err := s.framer.ReadFrame()
	if err == nil {
		err = s.accept(f)
	}
	if err != nil {
		s.broken = true
		return nil, s.explain(err)
	}
	if len(s.out) > 0 && (s.in.Buffered() == 0 || len(s.out) > readBuffer) {
		s.flush()
	}
	return f, nil
}

// explain says what the error of a frame means.
func (s *stream2) explain(err error) error {
	switch {
	case !s.greeted && errors.Is(err, http2.ErrFrameTooLarge):
		return errNotHTTP2
	case errors.Is(err, http2.ErrFrameTooLarge), errors.As(err, new(http2.ConnectionError)), errors.As(err, new(http2.StreamError)):
		return fmt.Errorf("the receiver does not keep to HTTP/2: %w", err)
	default:
		return err
	}
}

// flush writes what has to be written. Who takes nothing any more may still have
// said something.
func (s *stream2) flush() {
	if _, err := s.conn.Write(s.out); err != nil {
		s.broken = true
	}
	s.out = s.out[:0]
}

func (s *stream2) accept(f http2.Frame) error {
	if !s.greeted {
		settings, ok := f.(*http2.SettingsFrame)
		if s.greeted = ok && !settings.IsAck(); !s.greeted {
			return errNotHTTP2
		}
	}
	switch f := f.(type) {
	case *http2.SettingsFrame:
		return s.settings(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			s.out = append(appendFrame(s.out, http2.FramePing, http2.FlagPingAck, 0, len(f.Data)), f.Data[:]...)
		}
	case *http2.GoAwayFrame:
		s.leaving, s.last = true, min(s.last, f.LastStreamID)
	case *http2.WindowUpdateFrame:
		return s.widen(f)
	case *http2.PushPromiseFrame:
		return errPush
	case *http2.RSTStreamFrame:
		if f.StreamID > s.id {
			return errStrayFrame
		}
		if f.StreamID == s.id {
			s.open = false
			s.broken = s.broken || f.ErrCode == http2.ErrCodeProtocol // one of us is wrong
		}
	case *http2.MetaHeadersFrame:
		if f.Truncated {
			return errHeaderTooLarge
		}
		return s.response(f.StreamID, f.StreamEnded())
	case *http2.DataFrame:
		n := int(f.Length) // padding counts
		if n > s.mayComeConn || n > s.mayComeStream {
			return errWindow
		}
		s.mayComeConn, s.mayComeStream = s.mayComeConn-n, s.mayComeStream-n
		if s.mayComeConn < connWindow/2 {
			s.out = appendWindow(s.out, connWindow-s.mayComeConn)
			s.mayComeConn = connWindow
		}
		return s.response(f.StreamID, f.StreamEnded())
	}
	return nil
}

// response accepts a part of a response.
func (s *stream2) response(stream uint32, last bool) error {
	if stream != s.id || !s.open {
		return errStrayFrame
	}
	s.open = !last
	return nil
}

func (s *stream2) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	err := f.ForeachSetting(func(v http2.Setting) error {
		if err := v.Valid(); err != nil {
			return fmt.Errorf("the receiver has settings that are not valid (HTTP/2): %w", err)
		}
		switch v.ID {
		case http2.SettingInitialWindowSize:
			s.mayGoStream += int64(v.Val) - s.mayGoFirst
			s.mayGoFirst = int64(v.Val)
			if s.mayGoStream > math.MaxInt32 {
				return errWindow
			}
		case http2.SettingMaxConcurrentStreams:
			s.streams = v.Val
		}
		return nil
	})
	s.out = appendFrame(s.out, http2.FrameSettings, http2.FlagSettingsAck, 0, 0)
	return err
}

func (s *stream2) widen(f *http2.WindowUpdateFrame) error {
	switch {
	case f.StreamID == 0:
		s.mayGoConn += int64(f.Increment)
	case f.StreamID == s.id:
		s.mayGoStream += int64(f.Increment)
	case f.StreamID > s.id:
		return errStrayFrame
	}
	if s.mayGoConn > math.MaxInt32 || s.mayGoStream > math.MaxInt32 {
		return errWindow
	}
	return nil
}
