package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"fanjet/internal/control"
)

const (
	maxBody = 64 << 10 // bytes of a request
	// lookTime bounds how long a request may look for something.
	lookTime = 20 * time.Second
	// bulkTime bounds a replay or a purge; what is on its way then has bulkGrace
	// to end.
	bulkTime  = 20 * time.Second
	bulkGrace = 20 * time.Second
	maxBulk   = 2 // replays and purges at once
)

// handler answers a request of the API. What it returns is the body.
type handler func(w http.ResponseWriter, r *http.Request, in *Installation) (any, error)

// look serves what changes nothing.
func (s *Server) look(do handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { _ = s.serve(w, r, do) }
}

// act serves what changes something, and logs it.
func (s *Server) act(do handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		err := s.serve(w, r, do)
		actor := whoIs(r).actor
		fields := []zap.Field{
			zap.String("actor", actor.Name), zap.String("client", actor.Host), zap.Bool("authenticated", actor.Authenticated),
			zap.String("path", r.URL.Path), zap.Duration("took", time.Since(began)),
		}
		if err != nil {
			fields = append(fields, zap.Error(err))
		}
		s.log.Info("an operator acted", fields...)
	}
}

// serve answers a request, and returns why it failed.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, do handler) error {
	in := s.installation.Load()
	if in == nil {
		err := newProblem(http.StatusServiceUnavailable, "the gateway is starting or stopping; /readyz says more")
		err.write(w)
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookTime)
	defer cancel()
	body, err := do(w, r.WithContext(ctx), in)
	if err != nil {
		problemOf(err).write(w)
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(body) // fails only when the client is gone
	return nil
}

func badRequest(format string, args ...any) *problem {
	return newProblem(http.StatusBadRequest, fmt.Sprintf(format, args...))
}

// decode reads the JSON of a request; no body is as an empty object.
func decode(r *http.Request, into any) error {
	data, err := io.ReadAll(r.Body)
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return newProblem(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", tooLarge.Limit))
	}
	if err != nil {
		return badRequest("the body cannot be read: %v", err)
	}
	if len(data) == 0 {
		return nil
	}
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		return newProblem(http.StatusUnsupportedMediaType, "the body must be JSON: send the header Content-Type: application/json")
	}
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return badRequest("the body is not what is wanted here: %v", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return badRequest("the body has more than one JSON value")
	}
	return nil
}

// parameters are those of a URL.
type parameters struct {
	values url.Values
	err    error // of the first that is wrong
}

// query returns the parameters of a request, which may have these and no other.
func query(r *http.Request, known ...string) *parameters {
	values, err := url.ParseQuery(r.URL.RawQuery)
	p := &parameters{values: values}
	if err != nil {
		p.err = badRequest("the query cannot be read")
	}
	for name, list := range values {
		if !slices.Contains(known, name) {
			p.err = badRequest("there is no parameter %q here; there are %s", name, strings.Join(known, ", "))
		} else if len(list) > 1 {
			p.err = badRequest("the parameter %s is given twice", name)
		} else if strings.TrimSpace(list[0]) == "" {
			// Left out, it would select more than the client thinks.
			p.err = badRequest("the parameter %s is given, but empty; leave it out, or give it a value", name)
		}
	}
	return p
}

func (p *parameters) text(name string) string { return p.values.Get(name) }

// number reads a whole number from 0 to most.
func (p *parameters) number(name string, unless, most uint64) uint64 {
	text := p.text(name)
	if text == "" {
		return unless
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n > most {
		p.err = badRequest("%s: %q is not a number from 0 to %d", name, text, most)
	}
	return n
}

// limit reads how many a page has at most. None would be an empty page for ever.
func (p *parameters) limit() int {
	n := p.number("limit", pageSize, maxPageSize)
	if n == 0 && p.err == nil {
		p.err = badRequest("limit: 0 selects nothing; without a limit, leave it out")
	}
	return int(n)
}

// time reads a point in time; empty is the zero time.
func (p *parameters) time(name string) time.Time {
	t, err := control.ParseTime(p.text(name), time.Now())
	if err != nil {
		p.err = badRequest("%s: %v", name, err)
	}
	return t
}

// linkNext says where the next page is.
func linkNext(w http.ResponseWriter, r *http.Request, parameter string, value uint64) {
	next := r.URL.Query()
	next.Set(parameter, strconv.FormatUint(value, 10))
	w.Header().Set("Link", fmt.Sprintf("<%s?%s>; rel=\"next\"", r.URL.EscapedPath(), next.Encode()))
}
