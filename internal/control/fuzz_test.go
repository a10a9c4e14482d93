package control

import (
	"encoding/json"
	"testing"

	"fanjet/subscriber/endpoint"
)

// FuzzAssembly puts together what claims to be answers of gateways: it is
// refused, not complete, or has what was sent, and never more than that.
func FuzzAssembly(f *testing.F) {
	messages, err := Parts(Replica{ID: "a", Host: "h"}, []endpoint.Status{{Endpoint: "billing"}, {Endpoint: "crm"}}, partHeadroom+1)
	if err != nil || len(messages) != 2 {
		f.Fatalf("%d parts, %v", len(messages), err)
	}
	f.Add(messages[0], messages[1])
	f.Add(messages[1], messages[1])
	f.Add([]byte(`{"replica":{"id":"a"},"part":-1,"parts":2000000000,"endpoints":[null]}`), []byte(`{"parts":-5}`))
	f.Add([]byte(`{"endpoints":[1]}`), []byte(`[]`))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var a assembly
		sent := 0
		for _, text := range [][]byte{first, second, first} {
			if a.add(text) != nil {
				return
			}
			var p part
			if err := json.Unmarshal(text, &p); err != nil {
				t.Fatalf("%s was taken: %v", text, err)
			}
			sent += len(p.Statuses)
		}
		reports, err := a.reports()
		if (err == nil) != a.complete() {
			t.Fatalf("complete: %v, %v", a.complete(), err)
		}
		have := 0
		for _, r := range reports {
			have += len(r.Statuses)
		}
		if have > sent || len(reports) > 2 {
			t.Errorf("%d reports with %d of %d statuses", len(reports), have, sent)
		}
	})
}
