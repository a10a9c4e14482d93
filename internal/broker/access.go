package broker

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"
)

const (
	// maxAnonymous bounds the connections of clients without credentials, so
	// that they leave room for those of users and operators.
	maxAnonymous = maxConnections / 2

	// An acknowledgement that takes longer than this no longer finds its way
	// back to the producer, who has given up by then.
	ackThreshold = 30 * time.Second
)

// access decides who may do what on the embedded server; the server asks it at
// every CONNECT.
//
// The streams are in one account, $G, with the gateway and the operators. A
// producer is not: each of its connections is alone in an account of its own,
// which has no JetStream and imports nothing but the subjects of the events.
// Permissions alone would not do. The server sends the acknowledgement of an
// event to the reply subject that its producer chose, and asks nobody whether
// that producer may publish there; in the account of the streams that reply
// could be the subject of a delivery, or a request to purge the dead letters.
// And an account for all producers would let each listen to the
// acknowledgements of the others, or forge them.
type access struct {
	srv       *server.Server
	directory *directory
	subjects  []string // of the events
	log       *zap.Logger

	mu    sync.Mutex
	rooms map[string][]*server.Account // by name of the user
	count int                          // of all rooms, for their names
	told  time.Time                    // when it was logged that room was made
}

var _ server.Authentication = (*access)(nil)

// open lets the accounts of producers import the subjects of the events. It is
// called once, before the server starts.
func (a *access) open(srv *server.Server) error {
	a.srv = srv
	streams := srv.GlobalAccount()
	for _, subject := range a.subjects {
		err := streams.AddServiceExport(subject, nil)
		if err == nil {
			err = streams.SetServiceExportResponseThreshold(subject, ackThreshold)
		}
		if err != nil {
			return fmt.Errorf("let producers publish to %s: %w", subject, err)
		}
	}
	return nil
}

// Check implements server.Authentication.
func (a *access) Check(c server.ClientAuthentication) bool {
	if c.Kind() != server.CLIENT {
		return false
	}
	user := a.directory.identify(c.GetOpts(), c.GetNonce())
	if user == nil {
		return false
	}
	if user.Role == Operator {
		c.RegisterUser(&server.User{Username: user.Name, Account: a.srv.GlobalAccount()})
		return true
	}
	return a.admit(c, user)
}

// admit puts a connection into an account of its own.
func (a *access) admit(c server.ClientAuthentication, user *User) bool {
	subjects := user.Publish
	if len(subjects) == 0 {
		subjects = a.subjects
	}
	// The account counts as taken once the client is registered.
	a.mu.Lock()
	defer a.mu.Unlock()
	room, err := a.room(user, subjects)
	if err != nil {
		a.log.Warn("a producer is not let in", zap.String("user", user.Name), zap.Error(err))
		return false
	}
	c.RegisterUser(&server.User{
		Account: room,
		Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: subjects},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
		},
	})
	return true
}

// room returns an account in which nobody is, made new if there is none. The
// caller holds the lock.
func (a *access) room(user *User, subjects []string) (*server.Account, error) {
	rooms := a.rooms[user.Name]
	for _, room := range rooms {
		if room.NumLocalConnections() == 0 {
			return room, nil
		}
	}
	if user == a.directory.anonymous && len(rooms) >= maxAnonymous {
		return a.makeRoom(rooms)
	}
	room, err := a.srv.RegisterAccount("producer-" + strconv.Itoa(a.count+1))
	if err != nil {
		return nil, err
	}
	a.count++
	for _, subject := range subjects {
		if err := room.AddServiceImport(a.srv.GlobalAccount(), subject, subject); err != nil {
			return nil, err
		}
	}
	a.rooms[user.Name] = append(rooms, room)
	return room, nil
}
