package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/jsapi"
	"fanjet/internal/wire"
)

// A stream whose store failed once, because the disk was full or there were no
// descriptors, answers no publish any more and says nothing of it: its
// information is what it was, also when there is room again (nats-server 2.15).
// To a purge it answers with the error that it met. So each of our streams is
// asked to purge a subject that it does not have. That reads nothing and writes
// nothing on a single server; in a cluster it is a write to the log of the
// stream's group, so it also tells whether that one works.

// storageProbe is the subject. It is not one of any stream, and no consumer's
// filter covers it: a purge that a consumer sees makes it forget its naks.
func storageProbe(names wire.Names) string { return names.Prefix() + ".probe" }

// errStorage says that the store of a stream has failed.
type errStorage struct {
	stream, server string
	embedded       bool
	cause          error
}

func (e *errStorage) Error() string {
	text := fmt.Sprintf("the stream %s on the NATS server %s takes nothing: %v", e.stream, e.server, e.cause)
	if e.embedded {
		return text
	}
	return text + "; make room there (or raise its limit of open files) and restart that server: a store that met such an error does not recover by itself"
}

func (e *errStorage) Unwrap() error { return e.cause }

// probeStorage asks the streams, and returns an error that names each that takes
// nothing. An error that says nothing about a store, such as a missing answer,
// is told by others.
func probeStorage(ctx context.Context, js jetstream.JetStream, names wire.Names, embedded bool) error {
	question := struct {
		Filter string `json:"filter"`
	}{storageProbe(names)}
	var errs []error
	for _, stream := range []string{
		names.DeliveriesStream(), names.RetriesStream(), names.LanesStream(), names.DeadLettersStream(), "KV_" + names.StateBucket(),
	} {
		err := jsapi.Of(js).Ask(ctx, "STREAM.PURGE."+stream, question, &struct{}{})
		if !isStorageFault(err) {
			continue
		}
		server := js.Conn().ConnectedServerName()
		if s, err := js.Stream(ctx, stream); err == nil && s.CachedInfo().Cluster != nil && s.CachedInfo().Cluster.Leader != "" {
			server = s.CachedInfo().Cluster.Leader
		}
		errs = append(errs, &errStorage{stream: stream, server: server, embedded: embedded, cause: err})
	}
	return errors.Join(errs...)
}

// isStorageFault reports whether a purge was refused for what the store of the
// stream met. That a stream lets nobody purge it is told elsewhere.
func isStorageFault(err error) bool {
	return (jsapi.IsCode(err, codePurgeFailed) || jsapi.IsCode(err, codeStreamGeneral)) &&
		!strings.Contains(err.Error(), "not permitted") && !strings.Contains(err.Error(), "closed")
}

// What a purge is refused with when the store of the stream has failed, alone
// and in a cluster.
const (
	codePurgeFailed   jetstream.ErrorCode = 10110
	codeStreamGeneral jetstream.ErrorCode = 10051
)
