package admin

import (
	"math"
	"net/http"

	"fanjet/internal/audit"
)

// listAudit answers with a page of what operators did, newest first.
func (s *Server) listAudit(w http.ResponseWriter, r *http.Request, in *Installation) (any, error) {
	p := query(r, "since", "until", "action", "actor", "limit", "before")
	filter := audit.Filter{
		Since: p.time("since"), Until: p.time("until"), Action: audit.Action(p.text("action")), Actor: p.text("actor"),
		Limit: p.limit(), Before: p.number("before", 0, math.MaxUint64),
	}
	if p.err != nil {
		return nil, p.err
	}
	if err := filter.Validate(); err != nil {
		return nil, badRequest("%v", err)
	}
	records := []audit.Record{}
	for record, err := range in.Audit.List(r.Context(), filter) {
		if err != nil {
			return nil, err
		}
		records = append(records, record)
	}
	if len(records) == filter.Limit {
		linkNext(w, r, "before", records[len(records)-1].Seq)
	}
	return records, nil
}
