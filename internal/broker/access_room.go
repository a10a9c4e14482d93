package broker

import (
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"
)

// tellEvery is how often it is logged, at most, that connections make room.
const tellEvery = time.Minute

// makeRoom ends the connection of the rooms that has been idle for the longest, and
// returns its room: a client that leaves connections open keeps no producer out,
// who would hear of a violation of authorization, the only refusal there is. A
// client that is there connects again when it needs to. The caller holds the lock.
func (a *access) makeRoom(rooms []*server.Account) (*server.Account, error) {
	tooMany := fmt.Errorf("%d clients without credentials are connected already: close some, or give producers users", len(rooms))
	byName := make(map[string]*server.Account, len(rooms))
	for _, room := range rooms {
		byName[room.GetName()] = room
	}
	list, err := a.srv.Connz(&server.ConnzOptions{Username: true, Limit: 2 * maxConnections})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", tooMany, err)
	}
	var idlest *server.ConnInfo
	for _, c := range list.Conns {
		if byName[c.Account] != nil && (idlest == nil || c.LastActivity.Before(idlest.LastActivity)) {
			idlest = c
		}
	}
	if idlest == nil {
		return nil, tooMany // they are all going
	}
	room := byName[idlest.Account]
	_ = a.srv.DisconnectClientByID(idlest.Cid) // fails when it has gone by itself
	if room.NumLocalConnections() > 0 {
		return nil, tooMany
	}
	if now := time.Now(); now.Sub(a.told) >= tellEvery {
		a.told = now
		a.log.Warn("too many clients without credentials: the one that has been idle for the longest makes room for each new one",
			zap.Int("clients", len(rooms)), zap.Duration("idle", now.Sub(idlest.LastActivity)))
	}
	return room, nil
}
