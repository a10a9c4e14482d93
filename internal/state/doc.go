// Package state is what Fanjet keeps in its key-value bucket: which endpoints are paused
// and how pauses ended, what is known about the head of an ordered endpoint's line, and
// since when endpoints are missing from the configuration.
//
// Everything that follows from an entry goes by when the server stored it, and changes are
// made by compare and set: replicas write the same keys, and their clocks differ.
//
// # Keys
//
//   - cursor.<stream>: {"created", "sequence", "stored", "delivery"}, a copy of the ack
//     floor that the server reports for fanjet-match, with the creation time of the stream
//     and the stored time of that event. The matcher writes it (gateway/source), at most
//     once a second and at the stop, only forward, with compare and set; so does
//     `fanjet events skip`.
//   - removed.<endpoint>: deliveries wait for an endpoint that is not in the configuration,
//     since the server stored the entry; its value is for people. A replica that meets such
//     a delivery writes it, one that knows the endpoint deletes it. Heartbeats in which
//     every replica names its endpoints would say the same, with ten thousand of them
//     written again and again.
//   - paused.<endpoint>: an endpoint.Pause: since when, by whom, why, and at which delivery
//     the line of an ordered endpoint stands. `fanjet endpoints pause` writes it, or a
//     gateway; the first one stays.
//   - head.<endpoint>: a [Head], by the gateway that attempted the delivery.
//   - resumed.<endpoint>: a [Resume], when and by whom the latest pause was ended; only for
//     people.
//   - skip.<endpoint>: the key of a delivery that an operator gave up
//     (`fanjet endpoints resume NAME --skip-first`); the gateway that dead-letters it
//     deletes the entry.
//
// Pauses are the one part that must not be lost with a fault. A gateway reads them before
// it delivers anything and watches them from then on (pausewatch.go). While they cannot be
// read, those that are known stay in force. If the bucket was deleted and created again,
// the gateways write them anew.
//
// How endpoints do at the moment, and which gateways live, is not stored: see
// internal/control. Nor does the bucket spread the news of lanes: within a process the
// dispatcher tells the matcher at once, and other replicas find out by asking the stream.
package state
