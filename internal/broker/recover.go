package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"
)

// These say how the store is watched.
const (
	watchEvery  = time.Second
	tryEvery    = 5 * time.Second // whether the disk takes anything
	minRestarts = time.Second     // between two restarts
	maxRestarts = 10 * time.Second
	calmAfter   = 2 * time.Second // a restart has helped when the store works for so long
)

// Watch looks after the server's store until ctx ends. It calls report at every
// look, with a *[StoreError] while nothing can be stored, else with nil.
//
// An error that a store has met stays in it until the server is started again.
// Watch does so, in this process, once the reason has passed: the disk takes a
// file again, and there are descriptors. The port, the folder and its lock stay;
// clients see a short outage. Before that a restart could not help, and what is
// in memory is still served. Restarts that do not help are made less and less
// often, at most one in ten seconds.
func (s *Server) Watch(ctx context.Context, report func(error)) {
	w := &storeWatch{server: s, report: report}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		s.mu.RLock()
		heard := s.faults.heard
		s.mu.RUnlock()
		select {
		case <-ctx.Done():
			return
		case <-heard:
		case <-tick.C:
		}
		w.look(time.Now())
	}
}

// storeWatch is what Watch knows.
type storeWatch struct {
	server *Server
	report func(error)

	tried     time.Time // when the disk was tried
	noRoom    error     // what came of it
	restarted time.Time // the zero time: never
	pause     time.Duration
}

// look looks once.
func (w *storeWatch) look(now time.Time) {
	s := w.server
	fault := s.fault()
	if fault == nil {
		if now.Sub(w.tried) >= tryEvery || w.noRoom != nil {
			w.tried, w.noRoom = now, tryRoom(s.settings.StoreDir, aLittle, 0)
		}
		if now.Sub(w.restarted) > calmAfter {
			w.pause = 0
		}
		full, helps := s.limitReached()
		if !helps {
			w.tell(cmp.Or(w.noRoom, full))
			return
		}
		fault = full
	}
	w.noRoom = tryRoom(s.settings.StoreDir, enough, spareFiles)
	if w.noRoom != nil {
		w.tell(w.noRoom) // that is how it is now; fault is how it began
		return
	}
	w.tell(fault)
	if now.Sub(w.restarted) < w.pause {
		return
	}
	s.log.Warn("restarting the embedded NATS server", zap.String("reason", "its store met an error that has passed"), zap.Error(fault))
	err := s.restart()
	w.restarted, w.pause = time.Now(), min(max(2*w.pause, minRestarts), maxRestarts)
	if err != nil {
		s.log.Error("the embedded NATS server cannot be restarted; it is tried again", zap.Error(err))
	}
	w.tell(err)
}

func (w *storeWatch) tell(cause error) {
	if cause != nil {
		if _, told := errors.AsType[*StoreError](cause); !told {
			cause = &StoreError{Dir: w.server.settings.StoreDir, Cause: cause}
		}
	}
	w.report(cause)
}

// fault returns the error that a store has met, or nil.
func (s *Server) fault() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.ended:
		return nil
	case s.srv == nil:
		return errors.New("the server is not running")
	}
	if err := s.faults.get(); err != nil {
		return err
	}
	return unhealthy(s.srv)
}

// limitReached returns an error when the server takes nothing because it stores as
// much as it may. That limit comes from the space that was free at its start;
// helps says that a restart would raise it.
func (s *Server) limitReached() (full error, helps bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.srv == nil {
		return nil, false
	}
	info, err := s.srv.Jsz(nil)
	if err != nil || info.Disabled || info.Config.MaxStore <= 0 {
		return nil, false
	}
	used, limit := info.Store, uint64(info.Config.MaxStore)
	if used <= limit {
		return nil, false
	}
	free, _, err := DiskSpace(s.settings.StoreDir)
	// What the server will take as its limit: see finalizeDynamicMaxStore there.
	return &limitError{used: used, limit: limit}, err == nil && free/4*3+used/4*3 > used+enough
}

// limitError says that the server stores as much as it may.
type limitError struct{ used, limit uint64 }

func (e *limitError) Error() string {
	return fmt.Sprintf("it stores %d MiB and takes no more than %d: three quarters of the space that its disk has for it", e.used>>20, e.limit>>20)
}

// Report says that a stream turned out to take nothing, for an error of its
// store, when there had been so many [Server.Restarts]. The next look of
// [Server.Watch] comes at once.
func (s *Server) Report(restarts uint64, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.restarts.Load() == restarts { // else it was another server
		s.faults.note(err)
	}
}

// Restart stops the server and starts it again, in this process, on the same
// folder and address. Its clients see a short outage. When it cannot be started
// again, [Server.Watch] goes on trying.
func (s *Server) Restart(reason string) error {
	s.log.Warn("restarting the embedded NATS server", zap.String("reason", reason))
	return s.restart()
}

// Restarts is how often the server was started again in this process.
func (s *Server) Restarts() uint64 { return s.restarts.Load() }

// restart exchanges the server for a new one on the same folder and address.
func (s *Server) restart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil
	}
	if s.srv != nil {
		stop(s.srv)
		s.srv = nil
	}
	opts, err := s.optionsAgain()
	if err != nil {
		return err
	}
	srv, faults, _, err := startLocked(opts, s.settings, s.log)
	if err != nil {
		return err
	}
	s.srv, s.faults = srv, faults
	s.restarts.Add(1)
	s.log.Info("embedded NATS server is ready again")
	return nil
}

// optionsAgain are those of the settings, with the port that was found at the
// first start.
func (s *Server) optionsAgain() (*server.Options, error) {
	opts, err := serverOptions(s.settings, s.log)
	if err != nil || s.addr == "" {
		return opts, err
	}
	addr, err := net.ResolveTCPAddr("tcp", s.addr)
	if err != nil {
		return nil, fmt.Errorf("restart the embedded NATS server: %w", err)
	}
	opts.Port = addr.Port
	return opts, nil
}
