// Package control is how commands see and steer the endpoints of gateways that
// run: what they say to each other, the side that asks, and what NATS itself
// knows about an endpoint's backlog.
//
// It works over the NATS connection that operators have anyway. Requests and
// answers are JSON on plain subjects, see [wire.Names]; nothing is stored. A
// pause is no request: it is state, see [state.SetPause], and holds whether
// or not a gateway runs.
//
// What operators see and do is here once: the commands of fanjet and the API of
// package admin are two surfaces of it. It needs NATS and no gateway, as the dead
// letters and the state bucket are there. So a command works while no gateway runs,
// and the API of one replica speaks for all.
//
// # Subjects
//
//   - fanjet.ctl.endpoints: every gateway answers how its endpoints do.
//   - fanjet.ctl.resume.<endpoint>: every gateway ends what it knows the endpoint to
//     wait for.
//   - fanjet.ctl.ping.<endpoint>: one of them sends a test event.
//   - fanjet.ctl.alive: each gateway says every second that it lives, at the
//     start and at the end. An answer names those that its gateway knows: who asks
//     waits for them, and tells who is silent. After those, 0.3 s of silence end the
//     answers: there may be a gateway that nobody knows. A heartbeat in the state bucket would be a synced
//     write on three servers every few seconds, for something that is worth nothing a
//     moment later.
//   - fanjet.ctl.letters.replay and fanjet.ctl.letters.remove: replays, purges and
//     drains of dead letters tell each other, at their ends, who took which letters
//     (package dlq, beside*.go); only their reports depend on it.
//
// An act is done first and recorded then, in FANJET_AUDIT: one whose record cannot be
// written has happened, and its answer says so. A right that NATS refuses arrives
// beside all requests; broker.Refusals takes it to whoever waits for the answer.
// Where a gateway is on its machine, commands learn from a file that its process keeps
// locked (internal/runfile): a lock ends with its process, which a process number does
// not tell across containers.
package control
