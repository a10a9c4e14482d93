// Package httpsend sends requests to one receiver, over HTTP/1.1 or HTTP/2, and reads what it
// answers: connections, TLS, what is sent again, and the bounds of all that a hostile
// receiver can make us read, keep or wait for. It is apart from fanjet/subscriber/attempt
// because it knows no events, signatures or secrets: what is sent is a header and a body.
//
// A [Sender] has the connections to one endpoint, an [Exchange] is one request on its way:
// Begin, Set for each header, Do, Finish. [ProbeURL] goes as far and sends no request.
//
// Traps that rule its code:
//
//   - A connection that was kept alive may be closed by now, or hold bytes that nobody asked
//     for. [fanjet/subscriber/quiet] looks before it is used (conn.go).
//   - net/http sends requests again on its own, over HTTP/2 more than a thousand times when
//     a stream is reset with PROTOCOL_ERROR, which says nothing about whether it was
//     processed. Here that is decided in one place, again in resend.go: over HTTP/1.1 once,
//     on a connection that was kept alive and without a byte of an answer; over HTTP/2 what
//     the protocol says was not processed. So HTTP/2 is spoken here; frames are read by
//     x/net/http2, what is done about them is ours.
//   - net/http wakes two goroutines for each request, and http.Client copies all headers in
//     case of a redirect: half of the CPU of an attempt. An Exchange goes past both: the
//     goroutine that sends also reads, and buffers are used again.
//   - A receiver may answer without reading a large body. One above 32 KiB is written by a
//     goroutine of its own over HTTP/1.1 while the answer is awaited (http1.go).
//   - What breaks a connection breaks all requests on it: at a graceful restart Apache (2.4.71)
//     and lighttpd (1.4.69) break one with requests in flight as soon as a new one crosses
//     their farewell. So a connection of HTTP/2 carries one request at a time, and what came
//     over it is read before it is used again (http2_conn.go). A request that crosses a farewell
//     when it is alone is above its last stream, breaks nothing, and is sent again. Six real
//     servers, reloaded ten times under load, cost no attempt (make servers).
//   - HPACK with a table is a state that both ends must share. Requests use none, and no header,
//     which may be a credential, is indexed on the way (http2_request.go).
//   - A client that reads a response otherwise than its sender takes the rest of it for the next answer.
//     Heads are read strictly (http1_head.go); FuzzResponse compares with net/http: a
//     connection is kept only if both agree on where the response ends.
//   - Of connections that a peer forgot without a word each would cost a timeout. The first
//     timeout over a connection that was kept closes the idle ones (http1.go).
//   - A connection that is never idle is never closed. When it is old another one is made
//     beside it, which takes its place: the name is looked up again, the address judged, the
//     certificate checked (age.go).
//   - What renews connections or reads the rest of a response ends within 20 seconds, or with
//     the process; there are no more of them than slots.
//   - A sender whose egress policy is gone sends nothing more.
//   - A response may decide an attempt and never end. What is left of it is read aside, by a
//     goroutine that holds its connection and not its slot (linger.go). The body of a failure
//     is only looked at, so that its connection is as good as after a success (excerpt.go).
//   - A timer that fires because the process was stopped says nothing about the receiver: a
//     read whose time is up looks at the socket once more (late.go).
//   - A certificate that a client would have sent is not sent when a TLS session is resumed. So
//     sessions belong to a transport, and a transport to its settings (sessions.go).
//   - A resolver without file descriptors says that there is no such name. After a failure of
//     DNS it is looked whether there are any (reason.go).
package httpsend
