package jsapi_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"fanjet/internal/faultproxy"
	"fanjet/internal/jsapi"
	"fanjet/internal/natstest"
)

// behind connects to a server through a proxy.
func behind(t *testing.T) (*nats.Conn, *faultproxy.Proxy) {
	t.Helper()
	server := natstest.Start(t, natstest.Options{Listen: true})
	proxy, err := faultproxy.Start(strings.TrimPrefix(server.URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	nc, err := nats.Connect("nats://"+proxy.Addr(), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, proxy
}

// A question that is under way when the connection breaks is not waited for: it
// fails for that reason, and not by its timeout.
func TestQuestionEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	nc, proxy := behind(t)
	proxy.Set(faultproxy.Fault{BlackHole: faultproxy.ToClient})
	ended := make(chan error, 1)
	go func() {
		ended <- jsapi.On(nc).Ask(t.Context(), "INFO", nil, &struct{}{})
	}()
	for nc.Stats().OutMsgs == 0 { // until it was sent
		runtime.Gosched()
	}
	proxy.Cut()
	if err := <-ended; !errors.Is(err, nats.ErrDisconnected) {
		t.Errorf("the question ended with: %v", err)
	}
}

func TestWhileConnectedEndsWithItsParent(t *testing.T) {
	t.Parallel()
	nc, _ := behind(t)
	parent, end := context.WithCancel(t.Context())
	ctx, answered := jsapi.WhileConnected(parent, nc)
	defer answered()
	if ctx.Err() != nil {
		t.Fatal("it has ended already")
	}
	end()
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		t.Errorf("it ended with: %v", cause)
	}
}
