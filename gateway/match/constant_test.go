package match

import "testing"

func TestConstantFilters(t *testing.T) {
	t.Parallel()
	const never, always, no = "false", "true", ""
	for _, tt := range []struct {
		filter   string
		subjects []string
		want     string
	}{
		{`false`, []string{"events.>"}, never},
		{`true`, []string{"events.>"}, always},
		{`1 < 2 || data.x > 1`, []string{"events.>"}, always},
		{`data.x > 1 && "a" == "b"`, []string{"events.>"}, never},
		{`data.x > 1`, []string{"events.>"}, no},
		{`data.x > 1 || headers["A"] == "b"`, []string{"events.>"}, no},
		{`tokens[0] == "orders"`, []string{"events.>"}, never},
		{`tokens[0] == "events"`, []string{"events.>"}, always},
		{`tokens[0] == "events"`, []string{"events.>", "events.*.x", "events"}, always},
		{`tokens[0] == "events"`, []string{"events.>", "orders.>"}, no},
		{`tokens[0] == "events"`, []string{"*.x"}, no},
		{`tokens[1] == "x"`, []string{"events.>"}, no},
		{`tokens[1] == ""`, []string{"events.>"}, no},
		{`tokens[3] == "x"`, []string{"events.>"}, no},
		{`tokens[3] == ""`, []string{"events.>"}, no},
		{`tokens[2] == "x"`, []string{"events.*.x"}, always},
		{`size(tokens) == 66`, []string{"events.>"}, no},
		{`size(tokens) > 2`, []string{"events.*"}, no}, // it is, and not found
		{`size(tokens) == 2`, []string{"events.a"}, always},
		{`tokens.exists(t, t == "x")`, []string{"events.>"}, no},
		{`"" in tokens`, []string{"events.>"}, no},
		{`subject.startsWith("events.")`, []string{"events.a"}, always},
		{`subject == "events.>"`, []string{"events.>"}, no},
		{`subject.startsWith("orders.")`, []string{"events.>"}, no}, // it is, and not found
		{`tokens[5] == "x"`, []string{"events.a"}, no},              // it has no value
		{`id == "1"`, []string{"a"}, no},
		{`time > timestamp("2026-01-01T00:00:00Z")`, []string{"a"}, no},
		{`has(data.x)`, []string{"a"}, no},
		{`data.?x.orValue(false)`, []string{"a"}, no},
		{`[1, 2].exists(n, n == 2)`, []string{"a"}, always},
	} {
		var filters Filters
		if err := filters.Check(tt.filter, nil); err != nil {
			t.Fatalf("%s: %v", tt.filter, err)
		}
		got := no
		if value, is := filters.Constant(tt.filter, tt.subjects); is && value {
			got = always
		} else if is {
			got = never
		}
		if got != tt.want {
			t.Errorf("%s on %v: %q, want %q", tt.filter, tt.subjects, got, tt.want)
		}
	}
}
