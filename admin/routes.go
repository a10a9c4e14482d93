package admin

import (
	"log"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxScrapes bounds the requests of /metrics that are answered at once.
const maxScrapes = 4

// route is a method of a path, and what it needs.
type route struct {
	method, path string
	// scope is what a token must have; empty: no token is needed. /metrics needs
	// one only from elsewhere.
	scope Scope
	serve http.HandlerFunc
}

// routes are all there are. GET answers HEAD as well.
func (s *Server) routes(errorLog *log.Logger) []route {
	scrape := promhttp.HandlerFor(s.opts.Gatherer, promhttp.HandlerOpts{
		ErrorLog: errorLog,
		// One broken collector must not hide the others.
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
	})
	return []route{
		{http.MethodGet, "/{$}", "", s.index},
		{http.MethodGet, "/livez", "", s.live},
		{http.MethodGet, "/readyz", "", s.ready},
		{http.MethodGet, "/metrics", "", func(w http.ResponseWriter, r *http.Request) {
			if whoIs(r).direct || s.authorize(w, r, ScopeRead) {
				scrape.ServeHTTP(w, r)
			}
		}},
		{http.MethodGet, "/api/v1/endpoints", ScopeRead, s.look(s.listEndpoints)},
		{http.MethodGet, "/api/v1/endpoints/{name}", ScopeRead, s.look(s.showEndpoint)},
		{http.MethodPost, "/api/v1/endpoints/{name}/pause", ScopeOperate, s.act(s.pauseEndpoint)},
		{http.MethodPost, "/api/v1/endpoints/{name}/resume", ScopeOperate, s.act(s.resumeEndpoint)},
		{http.MethodPost, "/api/v1/endpoints/{name}/ping", ScopeOperate, s.act(s.pingEndpoint)},
		{http.MethodGet, "/api/v1/dead-letters", ScopeRead, s.look(s.listLetters)},
		{http.MethodGet, "/api/v1/dead-letters/{seq}", ScopeRead, s.look(s.showLetter)},
		{http.MethodPost, "/api/v1/dead-letters/replay", ScopeOperate, s.act(s.replayLetters)},
		{http.MethodPost, "/api/v1/dead-letters/purge", ScopeAdmin, s.act(s.purgeLetters)},
		{http.MethodGet, "/api/v1/audit", ScopeRead, s.look(s.listAudit)},
	}
}

// router finds the route of a request. Who may not take it does not learn more
// than that it exists.
func (s *Server) router(errorLog *log.Logger) http.Handler {
	byPath := make(map[string]map[string]route)
	for _, one := range s.routes(errorLog) {
		if byPath[one.path] == nil {
			byPath[one.path] = make(map[string]route)
		}
		byPath[one.path][one.method] = one
	}
	mux := http.NewServeMux()
	for path, methods := range byPath {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { s.dispatch(w, r, path, methods) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		newProblem(http.StatusNotFound, "there is nothing at this path").write(w)
	})
	return mux
}

func (s *Server) dispatch(w http.ResponseWriter, r *http.Request, path string, methods map[string]route) {
	if a, ok := w.(*answer); ok {
		a.route = path
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	chosen, ok := methods[method]
	if !ok {
		allowed := slices.Sorted(maps.Keys(methods))
		if methods[http.MethodGet].serve != nil {
			allowed = append(allowed, http.MethodHead)
		}
		list := strings.Join(allowed, ", ")
		w.Header().Set("Allow", list)
		newProblem(http.StatusMethodNotAllowed, "this path takes only "+list).write(w)
		return
	}
	if s.authorize(w, r, chosen.scope) {
		chosen.serve(w, r)
	}
}
