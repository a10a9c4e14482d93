package jsapi_test

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/jsapi"
	"fanjet/internal/natstest"
)

func TestMessages(t *testing.T) {
	t.Parallel()
	js, api := events(t)
	m := nats.NewMsg("events.b")
	// What a producer stores must not be taken for the server's word.
	m.Header.Set("Status", "404")
	m.Header.Set("Nats-Sequence", "77")
	for _, msg := range []*nats.Msg{{Subject: "events.a", Data: []byte("first")}, m, {Subject: "events.a", Data: []byte("third")}} {
		if _, err := js.PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
	}

	got, err := api.Message(t.Context(), "EVENTS", 2)
	if err != nil {
		t.Fatal(err)
	}
	header, err := got.Header()
	if err != nil || header.Get("Status") != "404" || header.Get("Nats-Sequence") != "77" {
		t.Errorf("headers of the second message: %v, %v", header, err)
	}
	if got.Sequence != 2 || got.Subject != "events.b" || got.Data == nil || len(got.Data) != 0 || got.Time.IsZero() {
		t.Errorf("second message: %+v", got)
	}

	got, err = api.Next(t.Context(), "EVENTS", "events.a", 2)
	if err != nil || got.Sequence != 3 || string(got.Data) != "third" {
		t.Errorf("next on events.a from 2 on: %+v, %v; want the third", got, err)
	}
	if header, err := got.Header(); header != nil || err != nil {
		t.Errorf("headers of a message without any: %v, %v", header, err)
	}
	for name, ask := range map[string]func() (*jsapi.Message, error){
		"a sequence past the end":       func() (*jsapi.Message, error) { return api.Message(t.Context(), "EVENTS", 4) },
		"a subject that nothing is on":  func() (*jsapi.Message, error) { return api.Next(t.Context(), "EVENTS", "events.c", 1) },
		"a subject from the end of its": func() (*jsapi.Message, error) { return api.Next(t.Context(), "EVENTS", "events.b", 3) },
	} {
		if m, err := ask(); !errors.Is(err, jsapi.ErrNoMessage) {
			t.Errorf("%s: %+v, %v; want ErrNoMessage", name, m, err)
		}
	}
}

func TestRefusalHasItsCode(t *testing.T) {
	t.Parallel()
	_, api := events(t)
	var answer struct{}
	err := api.Ask(t.Context(), "STREAM.INFO.MISSING", struct{}{}, &answer)
	if !jsapi.IsCode(err, jetstream.JSErrCodeStreamNotFound) || jsapi.IsCode(err, jetstream.JSErrCodeMessageNotFound) {
		t.Errorf("asking for a stream that does not exist: %v", err)
	}
	if _, err := api.Message(t.Context(), "MISSING", 1); err == nil || errors.Is(err, jsapi.ErrNoMessage) {
		t.Errorf("a message of a stream that does not exist: %v; want the server's refusal", err)
	}
}

// A write that somebody else's was faster than is told from other failures.
func TestConflict(t *testing.T) {
	t.Parallel()
	js, _ := events(t)
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b"})
	if err != nil {
		t.Fatal(err)
	}
	first, err := kv.Create(t.Context(), "key", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Create(t.Context(), "key", nil); !jsapi.IsConflict(err) {
		t.Errorf("made a second time: %v", err)
	}
	if _, err := kv.Update(t.Context(), "key", nil, first); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Update(t.Context(), "key", nil, first); !jsapi.IsConflict(err) {
		t.Errorf("changed from an older state: %v", err)
	}
	if err := kv.Delete(t.Context(), "key", jetstream.LastRevision(first)); !jsapi.IsConflict(err) {
		t.Errorf("deleted from an older state: %v", err)
	}
	if _, err := kv.Create(t.Context(), "*", nil); err == nil || jsapi.IsConflict(err) {
		t.Errorf("an invalid key: %v", err)
	}
}

func TestPrefixAndDomain(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t, natstest.Options{}).Conn()
	domain, err := jetstream.NewWithDomain(nc, "hub")
	if err != nil {
		t.Fatal(err)
	}
	prefix, err := jetstream.NewWithAPIPrefix(nc, "$JS.other.API")
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		jsapi.On(nc).Subject("INFO"):     "$JS.API.INFO",
		jsapi.Of(domain).Subject("INFO"): "$JS.hub.API.INFO",
		jsapi.Of(prefix).Subject("INFO"): "$JS.other.API.INFO",
	} {
		if got != want {
			t.Errorf("subject %q, want %q", got, want)
		}
	}
}

func events(t *testing.T) (jetstream.JetStream, jsapi.API) {
	t.Helper()
	js, err := jetstream.New(natstest.Start(t, natstest.Options{}).Conn())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}}); err != nil {
		t.Fatal(err)
	}
	return js, jsapi.Of(js)
}
