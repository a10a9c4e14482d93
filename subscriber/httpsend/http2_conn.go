package httpsend

import (
	"bufio"
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

// http2State is what a connection has that speaks HTTP/2 (RFC 9113).
//
// It carries one request at a time, as one that speaks HTTP/1.1 does, and is kept
// with those. HTTP/2 allows more, but who breaks a connection breaks everything on
// it, and some servers do that at a reload: when the next request crosses their
// farewell, Apache (2.4.71) and lighttpd (1.4.69) drop what they are working on. So
// nobody but the attempt reads a connection, and while it is idle nobody does: what
// came is read before it is used again, and one whose end was announced is not.
type http2State struct {
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

// newHTTP2State begins to speak HTTP/2: the beginning goes ahead of the first request.
func newHTTP2State(c *conn) *http2State {
	s := &http2State{
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

// reusable reports whether another request may go over the connection, as far as
// is known. Who takes no streams on it any more may never take one again; a new
// connection tells.
func (s *http2State) reusable() bool {
	return !s.leaving && !s.broken && !s.open && s.id < maxStream && s.streams > 0
}

// ready reads what came while the connection was idle, and reports whether a
// request can go over it.
func (s *http2State) ready() bool {
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
func (s *http2State) quiet() (bool, error) {
	if s.in.Buffered() > 0 || s.conn.quiet.Waiting() {
		return false, nil
	}
	_ = s.conn.SetReadDeadline(time.Unix(1, 0)) // keeps TLS from the socket, see quietLook.quiet
	if _, err := s.in.Peek(1); !isTimeout(err) {
		return false, err
	}
	return !s.conn.quiet.Within(), nil
}

// comes reports whether the next frame comes before the connection's deadline, as
// much of it as there is room for: who is interrupted within a frame does not find
// the next one.
func (s *http2State) comes() bool {
	head, err := s.in.Peek(frameHead)
	if err != nil {
		return false
	}
	length := frameHead + (int(head[0])<<16 | int(head[1])<<8 | int(head[2]))
	_, err = s.in.Peek(min(length, readBuffer))
	return err == nil
}

// arrived reports whether there is something to be read, or the end. What came for
// TLS only does not count. deadline is that of the connection.
func (s *http2State) arrived(deadline time.Time) bool {
	switch {
	case s.in.Buffered() > 0:
		return true
	case !s.conn.quiet.Waiting():
		return false
	}
	looks := s.conn.looks
	s.conn.looks = false
	now := time.Now()
	_ = s.conn.SetReadDeadline(now.Add(min(idleReading, deadline.Sub(now))))
	_, err := s.in.Peek(1)
	_ = s.conn.SetReadDeadline(deadline)
	s.conn.looks = looks
	return !isTimeout(err)
}
