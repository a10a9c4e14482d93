package state

import (
	"testing"
	"time"
)

func TestLastResume(t *testing.T) {
	t.Parallel()
	_, kv := stateBucket(t)
	ctx := t.Context()
	if r, err := LastResume(ctx, kv, "billing"); r != nil || err != nil {
		t.Errorf("LastResume() = %+v, %v, want none", r, err)
	}
	for _, by := range []string{"ann", "bob"} {
		r := Resume{At: time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC), By: by, Pause: pauseOf("cleo"), Skipped: "key-7"}
		if err := RecordResume(ctx, kv, "billing", r); err != nil {
			t.Fatal(err)
		}
		got, err := LastResume(ctx, kv, "billing")
		if err != nil || got == nil || *got != r {
			t.Errorf("LastResume() = %+v, %v, want %+v", got, err, r)
		}
	}
	if _, err := kv.PutString(ctx, "resumed.billing", "{"); err != nil {
		t.Fatal(err)
	}
	if _, err := LastResume(ctx, kv, "billing"); err == nil {
		t.Error("an entry that is unreadable was read")
	}
}

func TestSkipFirst(t *testing.T) {
	t.Parallel()
	_, kv := stateBucket(t)
	ctx := t.Context()
	expect := func(want string) {
		t.Helper()
		if got, err := Skipped(ctx, kv, "billing"); got != want || err != nil {
			t.Errorf("skipped() = %q, %v, want %q", got, err, want)
		}
	}
	expect("")
	if err := SkipFirst(ctx, kv, "billing", "key-7"); err != nil {
		t.Fatal(err)
	}
	expect("key-7")
	// Of another delivery: the operator has said something new meanwhile.
	if err := ForgetSkipped(ctx, kv, "billing", "key-6"); err != nil {
		t.Fatal(err)
	}
	expect("key-7")
	if err := ForgetSkipped(ctx, kv, "billing", "key-7"); err != nil {
		t.Fatal(err)
	}
	expect("")
}
