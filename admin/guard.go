package admin

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"fanjet/internal/audit"
)

// who is the client of a request.
type who struct {
	actor  audit.Actor
	scope  Scope // empty: it showed no token that is valid
	wrong  bool  // it showed one that is not
	direct bool  // it is a process on this machine, with no proxy in between
}

type whoKey struct{}

func whoIs(r *http.Request) who {
	w, _ := r.Context().Value(whoKey{}).(who)
	return w
}

// identify finds out who a client is. Without tokens, everybody who gets here is
// on this machine and may do all.
func (s *Server) identify(r *http.Request) who {
	keys, address := s.access.Load().keys, clientAddress(r.RemoteAddr)
	w := who{
		actor:  audit.Actor{Via: audit.ViaAPI, Name: "anonymous", Host: address},
		direct: !s.opts.BehindTLSProxy && isLoopback(r.RemoteAddr),
	}
	if len(keys) == 0 {
		w.scope = ScopeAdmin
		return w
	}
	token, given := bearer(r)
	if !given {
		return w
	}
	k, ok := keys.find(token)
	if !ok {
		w.wrong = true
		return w
	}
	w.actor.Name, w.actor.Authenticated, w.scope = k.name, true, k.scope
	return w
}

// client is whose allowance a request uses up. A token has its own: nobody else
// can use it up, also from behind the same proxy.
func (w *who) client() string {
	if w.actor.Authenticated {
		return "token " + w.actor.Name
	}
	return w.actor.Host
}

// guard refuses what no operator sends, before anything is looked at, and counts
// all requests.
func (s *Server) guard(next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, r, refusedOrigin, http.StatusForbidden, "a browser asks for this on behalf of another site")
	}))
	next = origins.Handler(next)
	return http.HandlerFunc(func(plain http.ResponseWriter, r *http.Request) {
		w := &answer{ResponseWriter: plain, route: "none"}
		defer func() { s.metrics.count(w, r.Method) }()
		defer answering(r)()
		writeHeaders(w.Header())
		host, ok := hostName(r.Host)
		if !ok {
			w.Header().Set("Connection", "close")
			s.refuse(w, r, refusedHost, http.StatusBadRequest, "the header Host has a port that there cannot be")
			return
		}
		if !s.answersFor(host) {
			s.refuse(w, r, refusedHost, http.StatusMisdirectedRequest,
				"this listener does not answer for that host: ask for localhost, or add the name to admin.hosts")
			return
		}
		client := s.identify(r)
		if ok, wait := s.requests.allow(client.client(), time.Now()); !ok {
			s.tooMany(w, r, wait, "too many requests")
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), whoKey{}, client))
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

func writeHeaders(h http.Header) {
	for name, value := range map[string]string{
		"Cache-Control":                "no-store",
		"Content-Security-Policy":      "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Referrer-Policy":              "no-referrer",
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
	} {
		h.Set(name, value)
	}
}

// authorize lets only those pass who may do what needs a scope.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request, needed Scope) bool {
	client := whoIs(r)
	switch {
	case client.scope.Covers(needed):
		return true
	case client.scope != "":
		s.refuse(w, r, refusedScope, http.StatusForbidden, "this needs a token with the scope "+string(needed)+"; that of "+client.actor.Name+" is "+string(client.scope))
		return false
	case client.wrong:
		// A token that is right always passes, whoever else fails from the same
		// address; so nobody can lock operators out.
		if ok, wait := s.failures.allow(client.actor.Host, time.Now()); !ok {
			s.tooMany(w, r, wait, "too many wrong tokens")
			return false
		}
		s.log.Warn("a request had a wrong token", zap.String("client", client.actor.Host))
		w.Header().Set("WWW-Authenticate", `Bearer realm="fanjet", error="invalid_token"`)
		s.refuse(w, r, refusedToken, http.StatusUnauthorized, "the token is not valid")
		return false
	default:
		w.Header().Set("WWW-Authenticate", `Bearer realm="fanjet"`)
		s.refuse(w, r, refusedNoToken, http.StatusUnauthorized, "this needs a token: send the header Authorization: Bearer TOKEN")
		return false
	}
}

// refuse answers with a problem and counts it.
func (s *Server) refuse(w http.ResponseWriter, _ *http.Request, reason string, status int, detail string) {
	s.metrics.refused.WithLabelValues(reason).Inc()
	newProblem(status, detail).write(w)
}

func (s *Server) tooMany(w http.ResponseWriter, r *http.Request, wait time.Duration, detail string) {
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	s.refuse(w, r, refusedRate, http.StatusTooManyRequests, detail)
}
