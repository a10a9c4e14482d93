package httpsend

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// idleConn returns a connection, and whether it was closed.
func idleConn(t *testing.T) (c *conn, closed func() bool) {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	return newConn(ours), func() bool {
		return errors.Is(ours.SetDeadline(time.Time{}), io.ErrClosedPipe)
	}
}

func TestIdleConnsGrowOld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &idleConns{max: 3, timeout: 90 * time.Second}
		old, oldClosed := idleConn(t)
		young, youngClosed := idleConn(t)
		p.put(old)
		time.Sleep(60 * time.Second) //nolint:forbidigo // synctest
		p.put(young)
		time.Sleep(29 * time.Second) //nolint:forbidigo // synctest
		synctest.Wait()
		if oldClosed() || youngClosed() {
			t.Fatal("closed too early")
		}
		time.Sleep(2 * time.Second) //nolint:forbidigo // synctest
		synctest.Wait()
		if !oldClosed() || youngClosed() {
			t.Fatalf("after 91 s and 31 s: %v, %v", oldClosed(), youngClosed())
		}
		if c := p.take(); c != young {
			t.Fatal("the young one is not there")
		}
		if c := p.take(); c != nil {
			t.Fatal("there is another")
		}
		// It is in use when the timer fires, and then has its whole time again.
		time.Sleep(60 * time.Second) //nolint:forbidigo // synctest
		p.put(young)
		time.Sleep(89 * time.Second) //nolint:forbidigo // synctest
		synctest.Wait()
		if youngClosed() {
			t.Fatal("closed too early")
		}
		time.Sleep(2 * time.Second) //nolint:forbidigo // synctest
		synctest.Wait()
		if !youngClosed() {
			t.Fatal("not closed after 91 s")
		}
	})
}

func TestIdleConnsUseTheLatest(t *testing.T) {
	t.Parallel()
	p := &idleConns{max: 2, timeout: time.Hour}
	a, _ := idleConn(t)
	b, _ := idleConn(t)
	c, closed := idleConn(t)
	p.put(a)
	p.put(b)
	p.put(c)
	if !closed() {
		t.Error("more than max are kept")
	}
	if p.take() != b || p.take() != a || p.take() != nil {
		t.Error("not the latest first")
	}
	p.close()
}

// What is given back after close is closed, unless somebody asked meanwhile.
func TestIdleConnsClose(t *testing.T) {
	t.Parallel()
	p := &idleConns{max: 2, timeout: time.Hour}
	idle, idleClosed := idleConn(t)
	used, usedClosed := idleConn(t)
	p.put(used)
	if p.take() != used {
		t.Fatal("it is not there")
	}
	p.put(idle)
	p.close()
	if !idleClosed() || usedClosed() {
		t.Errorf("idle: %v, used: %v", idleClosed(), usedClosed())
	}
	p.put(used)
	if !usedClosed() {
		t.Error("it was kept after close")
	}
	again, againClosed := idleConn(t)
	if p.take() != nil {
		t.Error("there is one")
	}
	p.put(again)
	if againClosed() {
		t.Error("it was not kept although it was asked for")
	}
	p.close()
}

func TestIdleConnsConcurrently(t *testing.T) {
	t.Parallel()
	p := &idleConns{max: 4, timeout: time.Nanosecond} // expire runs all the time
	var users sync.WaitGroup
	for range 8 {
		c, _ := idleConn(t)
		users.Go(func() {
			for range 200 {
				p.put(c)
				if taken := p.take(); taken != nil {
					c = taken
				}
			}
		})
	}
	users.Wait()
	p.close()
}

// Endpoints together keep no more than the process may, and for less time as
// there come to be many.
func TestIdleConnsOfAllEndpointsAreLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limit := &IdleLimit{max: 4}
		pools := []*idleConns{{max: 9, timeout: 90 * time.Second, limit: limit}, {max: 9, timeout: 90 * time.Second, limit: limit}}
		closed := make([]func() bool, 6)
		for i := range closed {
			var c *conn
			c, closed[i] = idleConn(t)
			pools[i%2].put(c)
		}
		for i, closed := range closed {
			if got, want := closed(), i >= 4; got != want {
				t.Errorf("connection %d of 4 that are kept: closed %v", i+1, got)
			}
		}
		time.Sleep(90 * time.Second) //nolint:forbidigo // synctest
		synctest.Wait()
		if n := limit.kept.Load(); n != 0 {
			t.Errorf("%d are kept", n)
		}
		c, _ := idleConn(t)
		pools[0].put(c)
		if pools[0].take() != c || limit.kept.Load() != 0 {
			t.Errorf("%d are kept after one was taken", limit.kept.Load())
		}
		pools[1].put(c)
		if pools[1].close(); limit.kept.Load() != 0 {
			t.Errorf("%d are kept after all were closed", limit.kept.Load())
		}
	})
}
