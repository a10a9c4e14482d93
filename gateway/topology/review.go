package topology

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/wire"
)

// review compares a stream with what it should be.
type review struct {
	object   string
	stream   string
	next     jetstream.StreamConfig // what it is, with what may be changed set right
	Changes  []string               // what next changes, for the log
	problems []error                // refusals
	Advices  []advice
}

func newReview(have jetstream.StreamConfig) *review {
	return &review{object: "stream " + have.Name, stream: have.Name, next: have}
}

func (r *review) err() error { return errors.Join(r.problems...) }

func (r *review) refuse(what, why, fix string) {
	r.problems = append(r.problems, &Refusal{Object: r.object, What: what, Why: why, Fix: fix})
}

// change sets a field right that may be changed at any time.
func change[T comparable](r *review, field string, have *T, want T) {
	if *have == want {
		return
	}
	r.Changes = append(r.Changes, fmt.Sprintf("%s: %v → %v", field, *have, want))
	*have = want
}

// raise sets the version of what is stored right, which never goes down. A stream
// without a number has one that is implied, and is left alone as long as that is right.
func (r *review) raise(want jetstream.StreamConfig) {
	have, next := wire.StoredVersion(r.next.Metadata), wire.StoredVersion(want.Metadata)
	if have >= next {
		return
	}
	r.Changes = append(r.Changes, fmt.Sprintf("version of what is stored: %d → %d", have, next))
	metadata := maps.Clone(r.next.Metadata)
	if metadata == nil {
		metadata = make(map[string]string)
	}
	maps.Copy(metadata, want.Metadata)
	r.next.Metadata = metadata
}

// reviewOwn compares one of the installation's own streams. fromConfig says
// that its maximum age and size are settings of the user.
func reviewOwn(have, want jetstream.StreamConfig, fromConfig bool) *review {
	r := newReview(have)
	foreign := "if nothing in it is needed, nats stream rm " + have.Name + "; else choose another nats.prefix"
	if have.Retention != want.Retention {
		r.refuse(fmt.Sprintf("retention is %q, not %q", retention(have.Retention), retention(want.Retention)), "messages would go before they are settled, or stay for ever", foreign)
	}
	if have.Storage != jetstream.FileStorage {
		r.refuse("storage is memory", "a restart of the server would lose it all", foreign)
	}
	if have.Mirror != nil || len(have.Sources) > 0 {
		r.refuse("it is filled from another stream", "messages in it are not ours", foreign)
	}
	if have.SubjectTransform != nil {
		r.refuse("subject_transform is set", "messages would be stored under subjects where nobody looks", foreign)
	}
	if have.Sealed {
		r.refuse("sealed is true", "nothing can be stored in it any more, and it cannot be opened again", foreign)
	}
	if have.AllowMsgCounter {
		r.refuse("allow_msg_counter is true", "it takes counters only", foreign)
	}
	if have.PersistMode != jetstream.DefaultPersistMode {
		r.refuse("persist_mode is async", "a crash would lose what was acknowledged", foreign)
	}
	if have.DenyPurge {
		r.refuse("deny_purge is true", "what is settled could not be removed", foreign)
	}
	if have.DenyDelete && !deletesAreDenied(want) {
		r.refuse("deny_delete is true", "single messages could not be removed", foreign)
	}
	if have.NoAck {
		r.refuse("no_ack is true", "nobody would know whether a message was stored", editStream(have.Name, "--ack"))
	}
	if !sameSubjects(have.Subjects, want.Subjects) {
		r.refuse("subjects are "+strings.Join(have.Subjects, ", "), "messages of ours would not be stored, or others would",
			editStream(have.Name, subjectsFlag(want.Subjects)))
	}
	r.limits(have, want, fromConfig)

	r.raise(want)
	change(r, "replicas", &r.next.Replicas, want.Replicas)
	change(r, "discard", &r.next.Discard, want.Discard)
	change(r, "allow_direct", &r.next.AllowDirect, want.AllowDirect)
	change(r, "allow_rollup_hdrs", &r.next.AllowRollup, want.AllowRollup || have.AllowRollup)
	change(r, "allow_atomic", &r.next.AllowAtomicPublish, want.AllowAtomicPublish || have.AllowAtomicPublish)
	change(r, "allow_msg_schedules", &r.next.AllowMsgSchedules, want.AllowMsgSchedules || have.AllowMsgSchedules)
	// They would remove our consumers while no gateway runs, or hold them up.
	change(r, "consumer_limits", &r.next.ConsumerLimits, want.ConsumerLimits)
	if want.Duplicates > 0 {
		change(r, "duplicate_window", &r.next.Duplicates, want.Duplicates)
	}
	return r
}

// reviewAudit compares the record of what operators did. Its limits are what an
// operator makes them: whoever must keep it for longer sets them.
func reviewAudit(have, want jetstream.StreamConfig) *review {
	r := newReview(have)
	foreign := "nats stream rm " + have.Name + " after a backup, or choose another nats.prefix"
	if have.Retention != want.Retention {
		r.refuse(fmt.Sprintf("retention is %q, not %q", retention(have.Retention), retention(want.Retention)), "records would go as soon as somebody reads them", foreign)
	}
	if have.Storage != jetstream.FileStorage {
		r.refuse("storage is memory", "a restart of the server would lose it all", foreign)
	}
	if have.Mirror != nil || len(have.Sources) > 0 || have.SubjectTransform != nil {
		r.refuse("it is filled from another stream, or changes subjects", "records in it are not ours", foreign)
	}
	if have.Sealed {
		r.refuse("sealed is true", "nothing can be stored in it any more", foreign)
	}
	if have.NoAck {
		r.refuse("no_ack is true", "nobody would know whether a record was stored", editStream(have.Name, "--ack"))
	}
	if !sameSubjects(have.Subjects, want.Subjects) {
		r.refuse("subjects are "+strings.Join(have.Subjects, ", "), "records would not be stored", editStream(have.Name, subjectsFlag(want.Subjects)))
	}
	r.raise(want)
	change(r, "replicas", &r.next.Replicas, want.Replicas)
	change(r, "discard", &r.next.Discard, want.Discard)
	change(r, "allow_direct", &r.next.AllowDirect, want.AllowDirect)
	change(r, "deny_delete", &r.next.DenyDelete, want.DenyDelete)
	change(r, "deny_purge", &r.next.DenyPurge, want.DenyPurge)
	return r
}

// deletesAreDenied reports whether a stream is that of a bucket: there the
// client library forbids single deletes.
func deletesAreDenied(want jetstream.StreamConfig) bool { return strings.HasPrefix(want.Name, "KV_") }

// limits refuses limits that remove messages, or stop the flow, before they
// are settled.
func (r *review) limits(have, want jetstream.StreamConfig, fromConfig bool) {
	const why = "messages that still wait would vanish, or new ones be refused"
	if fromConfig {
		change(r, "max_age", &r.next.MaxAge, want.MaxAge)
		change(r, "max_bytes", &r.next.MaxBytes, unlimited(want.MaxBytes))
	} else {
		if have.MaxAge > 0 {
			r.refuse("max_age is "+period(have.MaxAge), why, editStream(have.Name, "--max-age=-1"))
		}
		if have.MaxBytes > 0 {
			r.refuse(fmt.Sprintf("max_bytes is %d", have.MaxBytes), why, editStream(have.Name, "--max-bytes=-1"))
		}
	}
	if have.MaxMsgs > 0 {
		r.refuse(fmt.Sprintf("max_msgs is %d", have.MaxMsgs), why, editStream(have.Name, "--max-msgs=-1"))
	}
	if n := have.MaxMsgsPerSubject; n > 0 && (want.MaxMsgsPerSubject <= 0 || n < want.MaxMsgsPerSubject) {
		r.refuse(fmt.Sprintf("max_msgs_per_subject is %d", n), why, editStream(have.Name, fmt.Sprintf("--max-msgs-per-subject=%d", unlimited(want.MaxMsgsPerSubject))))
	}
	if have.MaxMsgSize > 0 {
		r.refuse(fmt.Sprintf("max_msg_size is %d", have.MaxMsgSize), "larger events could not be moved into it", editStream(have.Name, "--max-msg-size=-1"))
	}
}

// reviewForeign checks a source that somebody else owns. It is theirs: nothing
// is changed, and it is refused only when it can lose accepted events before
// Fanjet has seen them.
func reviewForeign(have jetstream.StreamConfig) *review {
	r := newReview(have)
	if have.Retention != jetstream.LimitsPolicy {
		why := "an event is removed for everybody as soon as Fanjet has acknowledged it, and the work queue takes no second consumer of the same events"
		if have.Retention == jetstream.InterestPolicy {
			why = "what is published while Fanjet's consumer does not exist is accepted and dropped"
		}
		r.refuse(fmt.Sprintf("retention is %q, not %q", retention(have.Retention), retention(jetstream.LimitsPolicy)), why,
			"publish to a stream with retention limits, and name that as the source")
	}
	if have.NoAck {
		r.refuse("no_ack is true", "a producer never hears whether its event was accepted", editStream(have.Name, "--ack"))
	}
	const why = "the oldest events are removed to make room, whether Fanjet has seen them or not"
	if have.Discard == jetstream.DiscardOld {
		fix := editStream(have.Name, "--discard new")
		if have.MaxMsgs > 0 {
			r.refuse(fmt.Sprintf(`discard is "old" and max_msgs is %d`, have.MaxMsgs), why, fix)
		}
		if have.MaxBytes > 0 {
			r.refuse(fmt.Sprintf(`discard is "old" and max_bytes is %d`, have.MaxBytes), why, fix)
		}
	}
	// Even DiscardNew removes the oldest of a subject, unless it is told not to.
	if have.MaxMsgsPerSubject > 0 && !have.DiscardNewPerSubject {
		r.refuse(fmt.Sprintf("max_msgs_per_subject is %d without discard_new_per_subject", have.MaxMsgsPerSubject), why,
			editStream(have.Name, "--max-msgs-per-subject=-1")+", or --discard new --discard-per-subject")
	}
	r.adviseSource(have)
	return r
}

// reviewSource checks a source that we create, or would have created.
func reviewSource(have, want jetstream.StreamConfig) *review {
	r := reviewForeign(have)
	theirs := "set create: false for this source if the stream is somebody else's"
	if have.Mirror != nil || len(have.Sources) > 0 {
		r.refuse("it is filled from another stream", "it is not one that Fanjet made", theirs)
	}
	if have.Storage != jetstream.FileStorage {
		r.refuse("storage is memory", "a restart of the server loses events that were accepted", theirs+" and that is wanted")
	}
	if have.Sealed {
		r.refuse("sealed is true", "it takes no events any more", theirs)
	}
	var lost []string
	for _, subject := range have.Subjects {
		if !slices.ContainsFunc(want.Subjects, func(w string) bool { return covers(w, subject) }) {
			lost = append(lost, subject)
		}
	}
	if len(lost) > 0 {
		r.refuse("it takes "+strings.Join(lost, ", ")+" too", "producers would be refused if those subjects went",
			"add them to the subjects of this source, or "+editStream(have.Name, subjectsFlag(want.Subjects)))
	} else if !sameSubjects(have.Subjects, want.Subjects) {
		r.Changes = append(r.Changes, fmt.Sprintf("subjects: %v → %v", have.Subjects, want.Subjects))
		r.next.Subjects = want.Subjects
	}
	change(r, "max_age", &r.next.MaxAge, want.MaxAge)
	change(r, "max_bytes", &r.next.MaxBytes, want.MaxBytes)
	change(r, "discard", &r.next.Discard, want.Discard)
	change(r, "replicas", &r.next.Replicas, want.Replicas)
	change(r, "allow_direct", &r.next.AllowDirect, true)
	change(r, "allow_atomic", &r.next.AllowAtomicPublish, true)
	window := max(have.Duplicates, want.Duplicates) // producers may count on a longer one
	if want.MaxAge > 0 {
		window = min(window, want.MaxAge)
	}
	change(r, "duplicate_window", &r.next.Duplicates, window)
	return r
}

func retention(p jetstream.RetentionPolicy) string { return strings.ToLower(p.String()) }

func sameSubjects(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// covers reports whether every subject that narrow stands for is one of wide.
func covers(wide, narrow string) bool {
	w, n := strings.Split(wide, "."), strings.Split(narrow, ".")
	for i, token := range w {
		if i >= len(n) {
			return false
		}
		if token == ">" {
			return true
		}
		if n[i] == ">" || token != "*" && token != n[i] {
			return false
		}
	}
	return len(w) == len(n)
}
