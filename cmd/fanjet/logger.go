package main

import (
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// logger returns the log of the process, on its standard error.
func (g *globals) logger() *zap.Logger {
	level, err := zapcore.ParseLevel(g.logLevel)
	if err != nil {
		level = zapcore.InfoLevel // the flag takes no other words than zap does
	}
	sink := zapcore.Lock(zapcore.AddSync(g.err))
	return zap.New(zapcore.NewCore(g.logEncoder(), sink, level), zap.ErrorOutput(sink))
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
