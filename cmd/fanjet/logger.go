package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// logger returns the log of the process, on its standard error.
func (g *globals) logger() *zap.Logger {
	level, err := zapcore.ParseLevel(g.logLevel)
	if err != nil {
		level = zapcore.InfoLevel // the flag takes no other words than zap does
	}
	sink := zapcore.Lock(zapcore.AddSync(plainWriter{g.err}))
	return zap.New(zapcore.NewCore(g.logEncoder(), sink, level), zap.ErrorOutput(sink))
}

// plainWriter escapes, as JSON does, what would steer a terminal in a log line
// and is not escaped yet: the encoders leave it at the control characters of
// ASCII, and a subject can hold others.
type plainWriter struct{ to io.Writer }

// Write implements [io.Writer]. It reports all of p as written.
func (w plainWriter) Write(p []byte) (int, error) {
	line := p
	if bytes.IndexFunc(p, steers) >= 0 {
		line = nil
		for _, r := range string(p) {
			switch {
			case !steers(r):
				line = utf8.AppendRune(line, r)
			case r > 0xffff:
				high, low := utf16.EncodeRune(r)
				line = fmt.Appendf(line, `\u%04x\u%04x`, high, low)
			default:
				line = fmt.Appendf(line, `\u%04x`, r)
			}
		}
	}
	if _, err := w.to.Write(line); err != nil {
		return 0, err
	}
	return len(p), nil
}

// steers reports whether a terminal may do something else with r than show it.
func steers(r rune) bool {
	return r >= 0x7f && !unicode.IsPrint(r) && !unicode.IsSpace(r) || r == 0x85 || r == '\u2028' || r == '\u2029'
}

// logEncoder lays a log line out: for machines one JSON object with times in
// RFC 3339 and durations in seconds, for people columns.
func (g *globals) logEncoder() zapcore.Encoder {
	conf := zapcore.EncoderConfig{
		TimeKey:        "time",
		LevelKey:       "level",
		NameKey:        "logger",
		MessageKey:     "msg",
		LineEnding:     zapcore.DefaultLineEnding,
		EncodeTime:     zapcore.RFC3339NanoTimeEncoder,
		EncodeLevel:    zapcore.LowercaseLevelEncoder,
		EncodeDuration: zapcore.SecondsDurationEncoder,
	}
	if g.logFormat == "console" || g.logFormat == "auto" && isTerminal(g.err) {
		conf.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		conf.EncodeLevel = zapcore.CapitalLevelEncoder
		conf.EncodeDuration = zapcore.StringDurationEncoder
		conf.ConsoleSeparator = "  "
		return zapcore.NewConsoleEncoder(conf)
	}
	return zapcore.NewJSONEncoder(conf)
}

// isTerminal reports whether a person is at the other end of a standard stream.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	// The null device is of the same kind.
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
