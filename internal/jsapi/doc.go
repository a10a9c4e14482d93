// Package jsapi makes those requests to JetStream's API whose answers nats.go
// keeps to itself, in whole or in part. Its answers are JSON, in which what a
// producer stored cannot be taken for a word of the server, as in the headers
// of a direct get.
//
// # Reading what was written
//
// The reads of nats.go's key-value buckets are direct gets, and so is GetMsg where a
// stream allows them. Any replica answers those, in a queue group that prefers the
// server of the client, from two seconds after it has caught up: of three, one that
// lags says what was true before, or "not found". So [OpenBucket] opens the state
// bucket, whose reads go to the leader, and [Change] is the one way to read, decide
// and write: compare and set, again when somebody else was faster (10071), or is at
// it (10164). The root's reads_test.go lists who reads otherwise. Who answers which
// read, and what it means if that is old:
//   - The state (pauses, heads, skips, removed, cursors), single messages ([API.Message],
//     [API.Next]): the leader.
//   - The watches for pauses and for removed endpoints: any replica. Changes come late:
//     pauses are compared with the leader every five seconds, and what the watch tells
//     late is passed over; of removed endpoints only what the replica itself knows is
//     deleted.
//   - Infos of streams and consumers (floors, counts, times): the leader. One that was
//     just elected may say too little, never too much.
//   - Pages of dead letters (dlq/direct.go): any replica. A list misses what came a
//     moment ago, or has what has just gone; whether a letter that is to go is gone,
//     the leader says.
//   - Pages of the audit record (internal/audit/read.go): any replica, asked again
//     until it has what the leader has.
package jsapi
