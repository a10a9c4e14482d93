package httpsend

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"golang.org/x/net/http2"
)

var (
	errNotHTTP2   = errors.New("the receiver agreed to speak HTTP/2, and does not begin with its settings")
	errStrayFrame = errors.New("the receiver sends a response that belongs to no request (HTTP/2)")
	errWindow     = errors.New("the receiver does not keep to the flow control of HTTP/2")
	errPush       = errors.New("the receiver promises what it must not (HTTP/2)")
)

// next reads a frame and does what belongs to the connection. The frame is valid
// until the next one is read. An error leaves a connection that cannot be used.
func (s *http2State) next() (http2.Frame, error) {
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
func (s *http2State) explain(err error) error {
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
func (s *http2State) flush() {
	if _, err := s.conn.Write(s.out); err != nil {
		s.broken = true
	}
	s.out = s.out[:0]
}

func (s *http2State) accept(f http2.Frame) error {
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
func (s *http2State) response(stream uint32, last bool) error {
	if stream != s.id || !s.open {
		return errStrayFrame
	}
	s.open = !last
	return nil
}

func (s *http2State) settings(f *http2.SettingsFrame) error {
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

func (s *http2State) widen(f *http2.WindowUpdateFrame) error {
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
