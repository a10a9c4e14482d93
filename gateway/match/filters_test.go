package match

import "testing"

// A filter is compiled once, for the check, the matcher, and the next version.
func TestFiltersAreCompiledOnce(t *testing.T) {
	t.Parallel()
	const kept, dropped, added = "data.a > 1", "data.b > 1", "data.c > 1"
	var before, after Filters
	for _, expr := range []string{kept, dropped, "", kept} {
		if err := before.Check(expr, nil); err != nil {
			t.Fatal(err)
		}
	}
	compiled := before.known(kept)
	subscriptions := []Subscription{{Name: "s", Subjects: []string{"a"}, Filter: kept, Endpoints: []string{"e"}}}
	m, err := before.Matcher(subscriptions)
	if err != nil || m.subscriptions[0].filter != compiled {
		t.Fatalf("the matcher has a filter of its own, error %v", err)
	}
	for _, expr := range []string{kept, added} {
		if err := after.Check(expr, &before); err != nil {
			t.Fatal(err)
		}
	}
	if after.known(kept) != compiled {
		t.Error("the next version compiled a filter again")
	}
	if after.known(dropped) != nil || after.known(added) == nil || len(after.byText) != 2 {
		t.Errorf("the next version has %d filters, want those that it uses", len(after.byText))
	}
	if err := after.Check("data.a >", &before); err == nil {
		t.Error("a wrong filter was accepted")
	}
	if len(after.byText) != 2 {
		t.Error("a wrong filter was kept")
	}
	if m, err := (*Filters)(nil).Matcher(subscriptions); err != nil || m.subscriptions[0].filter == nil {
		t.Errorf("without filters: %v", err)
	}
}
