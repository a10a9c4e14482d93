// Package audit is the record of what operators did: one message an act in a
// stream of its own (FANJET_AUDIT by default), which nobody can change or take
// single records out of, and whose oldest records go after its maximum age.
//
// The subject of a record names the way on which the act was asked for. So
// NATS's own permissions decide who may record what: who runs the command line
// cannot forge a record of the HTTP API, where the actor is authenticated. The
// time of a record is the server's.
package audit

import (
	"slices"
	"time"
)

// Via is the way on which an act was asked for.
type Via string

// The ways.
const (
	ViaAPI     Via = "api"     // HTTP; the actor is the name of a token
	ViaCLI     Via = "cli"     // the command line; the actor says who it is
	ViaGateway Via = "gateway" // by itself
)

// Action is what was done.
type Action string

// The actions. A skip is a resume that gives up the first delivery of a line;
// skip-events passes over events of a source that nobody has got yet.
const (
	Pause  Action = "pause"
	Resume Action = "resume"
	Skip   Action = "skip"
	Ping   Action = "ping"
	Replay Action = "replay"
	Purge  Action = "purge"
	Drain  Action = "drain"
	Reload Action = "reload"

	SkipEvents Action = "skip-events"
)

// Actions returns all of them.
func Actions() []Action {
	return []Action{Pause, Resume, Skip, Ping, Replay, Purge, Drain, Reload, SkipEvents}
}

// OnLetters reports whether it is one on dead letters, whose records say which,
// and how many.
func (a Action) OnLetters() bool { return a == Replay || a == Purge || a == Drain }

// Valid reports whether there is such an action.
func (a Action) Valid() bool { return slices.Contains(Actions(), a) }

// Actor is who acts.
type Actor struct {
	Via  Via    `json:"-"` // the subject says it
	Name string `json:"name"`
	User string `json:"user,omitempty"` // of the operating system
	Host string `json:"host,omitempty"` // name of the machine, or address of the client
	// Authenticated means that the name is proven, not claimed.
	Authenticated bool `json:"authenticated"`
}

// Results of a record. All that there is to be said of a result is in its
// detail.
const (
	OK      = "ok"
	Started = "started" // what came of it, another record says
	Failed  = "failed"  // it was tried; the detail says what went wrong
	Refused = "refused" // a configuration that is not used; the detail says why

	// Unreadable is that of a record which Fanjet did not write.
	Unreadable = "unreadable"
)

// results are all of them.
var results = [...]string{OK, Started, Failed, Refused, Unreadable}

// Record is one act. Its JSON is what is stored, and what operators see.
type Record struct {
	Seq    uint64    `json:"seq,omitempty"` // in the stream; set when it is read
	Time   time.Time `json:"time,omitzero"` // when NATS stored it; set when it is read
	Via    Via       `json:"via,omitempty"` // set when it is read
	Actor  Actor     `json:"actor"`
	Action Action    `json:"action"`
	Target string    `json:"target,omitempty"` // name of an endpoint, or of a source; empty: none, or several
	Detail string    `json:"detail,omitempty"` // what else matters, such as the delivery that was skipped
	Reason string    `json:"reason,omitempty"` // why, in the words of the actor

	// Of replays, purges and drains.
	Filter map[string]string `json:"filter,omitempty"` // which letters; empty: all
	DryRun bool              `json:"dry_run,omitempty"`
	// Operation ties the records of the beginning and of the end together.
	Operation string `json:"operation,omitempty"`
	Count     int    `json:"count,omitempty"`   // letters: selected at the beginning, done at the end
	Skipped   int    `json:"skipped,omitempty"` // gone before they could be removed
	Failed    int    `json:"failed,omitempty"`  // that stay

	Result string `json:"result"` // one of a few words, such as OK
}

// Ended says how an act ended: with [OK], or with err as a detail.
func (r *Record) Ended(err error) {
	r.Result = OK
	if err != nil {
		r.failed(err.Error())
	}
}

// failed notes what went wrong.
func (r *Record) failed(text string) {
	r.Result = Failed
	if r.Detail != "" {
		text = r.Detail + "; " + text
	}
	r.Detail = text
}
