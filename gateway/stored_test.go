package gateway

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"fanjet/dlq"
	"fanjet/internal/audit"
	"fanjet/internal/state"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"
)

// storedDelivery is what a receiver gets of the state that makeStored made.
type storedDelivery struct {
	endpoint, body, attempt, id string
}

func (d storedDelivery) String() string {
	return fmt.Sprintf("\n%s: %q with attempt %s, %s", d.endpoint, d.body, d.attempt, d.id)
}

// A folder that an earlier version wrote is opened, and nothing of it is lost: each
// event ends where it should, with the webhook-id that it had; who is paused stays so,
// and a line stands where it stood.
//
// testdata/stored-1.tar.gz was written by the commit 92fdacd, before anything stored
// had a version. Fixtures are never made again: what they hold is what users hold.
// For a new version of what is stored, one is added, made by
//
//	FANJET_STORED=testdata/stored-2.tar.gz go test -run 'TestStored/today' ./gateway
//
// and opened two minutes later, when its retries are due. Its ids by place, which no
// two folders share, are then to be written here. The case "today" makes a folder anew,
// so that what makes them works whenever one is needed.
func TestStored(t *testing.T) {
	t.Parallel()
	t.Run("1", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		unpack(t, "testdata/stored-1.tar.gz", dir)
		checkStored(newStoredWorld(t, dir, time.Hour), map[string]string{
			"due 1":       "msg_fiet567qalapgellejcxtpn2nw",
			"later 1":     "msg_akgaj43ocnu5ofd4io3wxkvaoa",
			"paused 2":    "msg_3hpowrtsuqdjjgjr2divdxtpnh",
			"exhausted 2": "msg_cbh7xwai46zstli4ksbrcmcrn5",
			"huge":        "msg_rr6qbr2jk7q4rgiiy2mx2vuosi",
		})
	})
	t.Run("today", func(t *testing.T) {
		t.Parallel()
		dir, file, wait := t.TempDir(), os.Getenv("FANJET_STORED"), 2*time.Second
		if file != "" {
			wait = 2 * time.Minute
		}
		made := newStoredWorld(t, dir, wait)
		made.makeStored()
		if file != "" {
			pack(t, dir, file)
			return
		}
		checkStored(newStoredWorld(t, dir, time.Hour), nil)
	})
}

// checkStored opens what makeStored made. byPlace are the ids of events that are known
// by their place; nil: they are not known.
func checkStored(w *storedWorld, byPlace map[string]string) {
	w.Helper()
	w.alone(w.checkFolder)
	var endpoints []endpoint.Settings
	for name := range strings.FieldsSeq("delivered log retry due verdict paused resumed rejected exhausted large expired blocked later") {
		endpoints = append(endpoints, w.endpoint(name))
	}
	w.serves(append(endpoints, w.endpoint("ordered", ordered), w.endpoint("line", standing), w.endpoint("skips", standing))...)
	w.begin(5*time.Second, 50*time.Millisecond)

	// What nothing holds up is delivered, what was given up is a letter.
	deliveries := []storedDelivery{
		{"due", "due 1", "2", byPlace["due 1"]},
		{"exhausted", "exhausted 1", "1", "msg_ribiekbfkyk5gfouw4s2foh4gn"}, // replayed
		{"later", "later 1", "1", byPlace["later 1"]},
		{"later", "later 2", "1", "msg_jmbntvt4ewbsgsq6iskmhgtu5y"},
		{"log", "log 1", "1", "msg_4yhmipcmqxlb22dllxby2antee"},
		{"ordered", "ordered 1", "2", "msg_rn6dojrqwnvl5klhptpick7x7n"},
		{"ordered", "ordered 2", "1", "msg_dlxzpkuzy5ysizo2vuw5dxc6em"},
		{"retry", "retry 1", "2", "msg_armxdtytqcv4pylv7m2efckels"},
		{"skips", "skips 2", "1", "msg_buqx5tlryf5tyj3xqdaqndr53p"},
	}
	w.checkDeliveries(deliveries)
	w.checkLetters([]storedLetter{
		{"blocked", dlq.ReasonBlockedDestination, 1, "EVENTS/15", "msg_2ek2tx2d67tj2gh3pfi6ybpmbo"},
		{"exhausted", dlq.ReasonExhausted, 2, "EVENTS/13", byPlace["exhausted 2"]},
		{"expired", dlq.ReasonExpired, 1, "EVENTS/14", "msg_gxaprch3546z2k55fmfjzann4k"},
		{"gone", dlq.ReasonEndpointRemoved, 0, "EVENTS/16", "msg_erua54wshvv2533sz6svtnbgjh"},
		{"large", dlq.ReasonTooLarge, 0, "THEIRS/1", byPlace["huge"]},
		{"rejected", dlq.ReasonRejected, 1, "EVENTS/11", "msg_mk3pmkui7fm3rgbfp3fawc5q5r"},
		{"skips", dlq.ReasonExhausted, 2, "EVENTS/7", "msg_cc3yiwnnabzyairdnmbriiduwi"},
		{"verdict", dlq.ReasonRejected, 1, "EVENTS/19", "msg_wwt2xutr5e4l3luc5o3oaofkll"},
	})

	// What an operator holds waits for one.
	for name, by := range map[string]string{"paused": ann.Name, "line": "fanjet"} {
		status := statusIn(w.gw, name)
		if status.State != endpoint.StatePaused || !strings.Contains(status.Reason, by) {
			w.Errorf("%s is %s: %s; want it paused by %s", name, status.State, status.Reason, by)
		}
		if _, err := w.operator().Resume(w.Context(), ann, name, "", false); err != nil {
			w.Fatal(err)
		}
	}
	deliveries = append(deliveries,
		storedDelivery{"line", "line 1", "1", "msg_7myn5b3wldutlarrzc4iekn76x"},
		storedDelivery{"line", "line 2", "1", "msg_4zy2ksjchkwotvmtrktwwobhuv"},
		storedDelivery{"line", "line 3", "1", "msg_sh6bz4uyymryxbzu5ow4fwxchd"},
		storedDelivery{"paused", "paused 1", "1", "msg_qxln567skzne7bpzxpn2hisicl"},
		storedDelivery{"paused", "paused 2", "1", byPlace["paused 2"]},
	)
	w.checkDeliveries(deliveries)

	// Letters can be replayed, and read where they are references.
	for _, endpoint := range []string{"blocked", "exhausted", "expired", "rejected", "skips", "verdict"} {
		if outcome, err := w.queue().Replay(w.Context(), dlq.Filter{Endpoint: endpoint}, dlq.ReplayOptions{}); err != nil || outcome.Done != 1 {
			w.Errorf("%s: replayed %+v, %v", endpoint, outcome, err)
		}
	}
	w.checkDeliveries(append(deliveries,
		storedDelivery{"blocked", "blocked 1", "1", "msg_2ek2tx2d67tj2gh3pfi6ybpmbo"},
		storedDelivery{"exhausted", "exhausted 2", "1", byPlace["exhausted 2"]},
		storedDelivery{"expired", "expired 1", "1", "msg_gxaprch3546z2k55fmfjzann4k"},
		storedDelivery{"rejected", "rejected 1", "1", "msg_mk3pmkui7fm3rgbfp3fawc5q5r"},
		storedDelivery{"skips", "skips 1", "1", "msg_cc3yiwnnabzyairdnmbriiduwi"},
		storedDelivery{"verdict", "verdict 1", "1", "msg_wwt2xutr5e4l3luc5o3oaofkll"},
	))
	for _, l := range w.letters(2) {
		if err := w.queue().Resolve(w.Context(), &l); l.Endpoint == "large" && (err != nil || string(l.Data) != hugeEvent) {
			w.Errorf("%d bytes behind the reference, %v", len(l.Data), err)
		}
	}

	// Nothing is left on the way, and the record is still that of then.
	w.empty()
	var actions []string
	for r, err := range audit.New(w.js, w.gw.names).List(w.Context(), audit.Filter{}) {
		if err != nil {
			w.Fatal(err)
		}
		actions = append(actions, fmt.Sprintf("%s %s", r.Action, r.Target))
	}
	slices.Reverse(actions)
	want := []string{"pause paused", "pause resumed", "pause gone", "resume resumed"}
	if len(actions) < len(want) || !slices.Equal(actions[:len(want)], want) {
		w.Errorf("recorded: %v", actions)
	}
	resumed, err := state.LastResume(w.Context(), w.state(), "resumed")
	if err != nil || resumed == nil || resumed.By != ann.Name || resumed.Pause.Reason != "their maintenance" {
		w.Errorf("resumed: %+v, %v", resumed, err)
	}
}

// checkFolder looks whether something waits in every place where anything can wait.
func (w *storedWorld) checkFolder() {
	w.Helper()
	names := wire.NewNames(w.cfg.NATS.Prefix)
	for stream, want := range map[string]map[string]uint64{
		"EVENTS":                 {"events.later": 2},
		"THEIRS":                 {"theirs.large": 1},
		names.DeliveriesStream(): {"fanjet.deliver.log": 1, "fanjet.deliver.exhausted": 1},
		names.LanesStream():      {"fanjet.lane.paused": 2, "fanjet.lane.gone": 1, "fanjet.lane.line": 3, "fanjet.lane.skips": 2, "fanjet.lane.ordered": 2},
		names.DeadLettersStream(): {
			"fanjet.dlq.rejected": 1, "fanjet.dlq.exhausted": 1, "fanjet.dlq.expired": 1, "fanjet.dlq.blocked": 1, "fanjet.dlq.large": 1,
		},
		names.AuditStream(): {"fanjet.audit.cli.skip": 1},
	} {
		s, err := w.js.Stream(w.Context(), stream)
		if err != nil {
			w.Fatal(err)
		}
		for subject, n := range want {
			if got := w.subjectCount(s, subject); got != n {
				w.Errorf("%s has %d messages on %s, want %d", stream, got, subject, n)
			}
		}
	}
	// Those of "retry" and "verdict" may have fired by now, that of "due" has.
	if n := w.messages(names.RetriesStream()); n != 3 {
		w.Errorf("%d retries, want 3", n)
	}
	keys, err := w.state().Keys(w.Context())
	slices.Sort(keys)
	keys = slices.DeleteFunc(keys, func(key string) bool { return strings.HasPrefix(key, "direct.") }) // programs that came first have no marks
	want := strings.Fields(`cursor.EVENTS cursor.THEIRS head.line head.ordered head.skips paused.line paused.paused
		removed.gone resumed.resumed resumed.skips skip.skips`)
	if err != nil || !slices.Equal(keys, want) {
		w.Errorf("the state bucket has %v, %v, want %v", keys, err, want)
	}
}

// checkDeliveries waits for these deliveries, each once and no other; those of an
// endpoint that is ordered in their order.
func (w *storedWorld) checkDeliveries(want []storedDelivery) {
	w.Helper()
	w.waitFor(fmt.Sprintf("%d deliveries have come", len(want)), func() bool { return len(w.hook.all()) >= len(want) })
	var got []storedDelivery
	for _, r := range w.hook.all() {
		id := r.id
		if slices.ContainsFunc(want, func(d storedDelivery) bool { return d.body == r.body && d.id == "" }) {
			id = "" // by a place in this folder
		}
		got = append(got, storedDelivery{r.endpoint, r.body, r.attempt, id})
	}
	order := func(a, b storedDelivery) int {
		if a.endpoint == b.endpoint && (a.endpoint == "line" || a.endpoint == "ordered") {
			return 0 // as they came
		}
		return cmp.Or(strings.Compare(a.endpoint, b.endpoint), strings.Compare(a.body, b.body))
	}
	want = slices.SortedStableFunc(slices.Values(want), order)
	slices.SortStableFunc(got, order)
	if !slices.Equal(got, want) {
		w.Errorf("deliveries:\n%v\nwant:\n%v", got, want)
	}
}

// storedLetter is a dead letter of the state that makeStored made.
type storedLetter struct {
	endpoint string
	reason   dlq.Reason
	attempts int
	source   string
	id       string
}

// checkLetters waits for these letters, in order of endpoints.
func (w *storedWorld) checkLetters(want []storedLetter) {
	w.Helper()
	var got []storedLetter
	for _, l := range w.letters(len(want)) {
		got = append(got, storedLetter{l.Endpoint, l.Reason, l.Attempts, l.Source, l.EventID})
	}
	slices.SortFunc(got, func(a, b storedLetter) int { return strings.Compare(a.endpoint, b.endpoint) })
	for i := range min(len(got), len(want)) {
		if want[i].id == "" { // by a place in this folder
			got[i].id = ""
		}
	}
	if !slices.Equal(got, want) {
		w.Errorf("letters:\n%v\nwant:\n%v", got, want)
	}
}
