package source

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"fanjet/internal/intake"
)

func TestGaps(t *testing.T) {
	t.Parallel()
	life, again := time.Unix(1, 0), time.Unix(2, 0)
	event := func(delivery, sequence, deliveries uint64) *intake.Message {
		return &intake.Message{Delivery: delivery, Sequence: sequence, Deliveries: deliveries}
	}
	type events = []*intake.Message
	cursor := &progress{Created: life, Sequence: 10, Delivery: 10}
	for name, tt := range map[string]struct {
		cursor *progress
		first  uint64
		events events
		want   string // after, before, missed, exact
	}{
		"in order":                       {events: events{event(1, 1, 1), event(2, 2, 1), event(3, 3, 1)}},
		"nothing is known before":        {events: events{event(1, 7, 1), event(2, 8, 1)}},
		"while it runs":                  {events: events{event(1, 1, 1), event(2, 5, 1)}, want: "[1 5 3 true]"},
		"sent again":                     {events: events{event(1, 1, 1), event(2, 2, 1), event(3, 1, 2), event(4, 2, 2), event(5, 3, 1)}},
		"sent again to us only":          {events: events{event(8, 4, 2), event(9, 3, 2), event(10, 5, 1), event(11, 7, 1)}, want: "[5 7 1 true]"},
		"sent again after a crash":       {events: events{event(300, 44, 2), event(301, 253, 1), event(302, 255, 1)}, want: "[253 255 1 true]"},
		"sent again after a cursor":      {cursor: cursor, first: 1, events: events{event(300, 11, 2), event(301, 253, 1), event(302, 255, 1)}, want: "[253 255 1 true]"},
		"after a restart":                {cursor: cursor, events: events{event(11, 11, 1)}},
		"before a restart":               {cursor: cursor, events: events{event(11, 15, 1)}, want: "[10 15 4 true]"},
		"handed back at the stop":        {cursor: cursor, events: events{event(13, 11, 2), event(14, 12, 2), event(15, 13, 1)}},
		"a cursor of an earlier version": {cursor: &progress{Created: life, Sequence: 10}, events: events{event(11, 15, 1)}},
		"a cursor of another life":       {cursor: &progress{Created: again, Sequence: 10, Delivery: 10}, events: events{event(11, 15, 1)}},
		"another matcher had them":       {cursor: cursor, first: 1, events: events{event(15, 15, 1), event(16, 16, 1)}},
		"another matcher missed them":    {cursor: cursor, first: 1, events: events{event(15, 19, 1)}, want: "[10 19 4 false]"},
		"a dead one took them with it":   {cursor: cursor, first: 15, events: events{event(15, 15, 1)}, want: "[10 15 4 false]"},
		"the consumer was made anew":     {cursor: cursor, events: events{event(1, 3, 1), event(2, 4, 1), event(3, 11, 1)}, want: ""},
		"anew, and events are gone":      {cursor: cursor, events: events{event(1, 14, 1), event(2, 15, 1)}, want: "[10 14 3 true]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got string
			g := gaps{
				forget: make(chan struct{}, 1),
				cursor: func(context.Context) (*progress, error) { return tt.cursor, nil },
				first:  func(context.Context) (uint64, error) { return tt.first, nil },
				report: func(after, before, missed uint64, exact bool) { got += fmt.Sprint([]any{after, before, missed, exact}) },
			}
			for _, e := range tt.events {
				g.look(t.Context(), life, e)
			}
			if got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			// A stream that lost its end begins anew, whatever the cursor says.
			got = ""
			g.cursor = func(context.Context) (*progress, error) { return nil, errors.New("not asked for") }
			g.sequencesWentBack()
			g.sequencesWentBack() // twice is once
			g.look(t.Context(), life, event(100, 90, 1))
			g.look(t.Context(), life, event(101, 92, 1))
			if got != "[90 92 1 true]" {
				t.Errorf("after the sequences went back: %s", got)
			}
		})
	}
}

// What is seen of a consumer that was moved, event by event.
func TestGapsOfAMovedConsumer(t *testing.T) {
	t.Parallel()
	life := time.Unix(1, 0)
	event := func(delivery, sequence, deliveries uint64) *intake.Message {
		return &intake.Message{Delivery: delivery, Sequence: sequence, Deliveries: deliveries}
	}
	type events = []*intake.Message
	for name, tt := range map[string]struct {
		stored  bool // what is between is still there
		events  events
		none    bool   // there is no cursor
		moved   string // after, before
		missed  string
		early   int // events that come again
		vouched uint64
	}{
		"in order":              {stored: true, events: events{event(6, 6, 1), event(7, 7, 1)}, vouched: 7},
		"a gap without a move":  {stored: true, events: events{event(6, 9, 1)}, missed: "[5 9 3 true]", vouched: 9},
		"moved":                 {stored: true, events: events{event(1, 9, 1), event(2, 10, 1)}, moved: "[5 9]", early: 2, vouched: 5},
		"moved, and all gone":   {events: events{event(1, 9, 1)}, moved: "[5 9]", missed: "[5 9 3 true]", vouched: 9},
		"moved, and back":       {stored: true, events: events{event(1, 9, 1), event(2, 10, 1), event(1, 6, 1), event(2, 7, 1)}, moved: "[5 9]", early: 2, vouched: 7},
		"and goes on":           {stored: true, events: events{event(1, 9, 1), event(1, 6, 1), event(2, 7, 1), event(3, 8, 1), event(4, 9, 1), event(5, 10, 1)}, moved: "[5 9]", early: 1, vouched: 10},
		"back, the first lost":  {stored: true, events: events{event(1, 9, 1), event(3, 8, 1)}, moved: "[5 9]", early: 1, vouched: 8},
		"moved, back and moved": {stored: true, events: events{event(1, 9, 1), event(1, 6, 1), event(1, 12, 1)}, moved: "[5 9][6 12]", early: 2, vouched: 6},
		"sent again":            {stored: true, events: events{event(1, 9, 2)}, vouched: 9},
		"moved, and no cursor":  {stored: true, none: true, events: events{event(1, 9, 1), event(2, 10, 1), event(1, 1, 1), event(2, 2, 1)}, moved: "[0 9]", early: 2, vouched: 2},
		"no cursor, others too": {stored: true, none: true, events: events{event(4, 9, 1), event(5, 10, 1)}, vouched: 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var moved, missed string
			g := gaps{
				forget: make(chan struct{}, 1),
				cursor: func(context.Context) (*progress, error) {
					if tt.none {
						return nil, nil
					}
					return &progress{Created: life, Sequence: 5, Delivery: 5}, nil
				},
				first:  func(context.Context) (uint64, error) { return 1, nil },
				report: func(after, before, n uint64, exact bool) { missed += fmt.Sprint([]any{after, before, n, exact}) },
				moved: func(_ context.Context, after, before uint64) bool {
					moved += fmt.Sprint([]uint64{after, before})
					return tt.stored
				},
			}
			early := 0
			for _, e := range tt.events {
				if g.look(t.Context(), life, e) {
					early++
				}
			}
			if moved != tt.moved || missed != tt.missed || early != tt.early || g.vouched.Load() != tt.vouched {
				t.Errorf("moved %q, missed %q, %d early, vouched up to %d; want %q, %q, %d, %d", moved, missed, early, g.vouched.Load(), tt.moved, tt.missed, tt.early, tt.vouched)
			}
		})
	}
}
