package admin

import (
	"errors"
	"net/http"
	"time"

	"fanjet/internal/audit"
	"fanjet/internal/control"
	"fanjet/subscriber/endpoint"
)

// pingTime is how long a test event may take, unless the request says less.
const pingTime = 15 * time.Second

// maxReason bounds what somebody gives as a reason, in bytes.
const maxReason = 512

func (s *Server) listEndpoints(_ http.ResponseWriter, r *http.Request, in *Installation) (any, error) {
	if err := query(r).err; err != nil {
		return nil, err
	}
	views, err := in.Endpoints.Endpoints(r.Context())
	if errors.Is(err, control.ErrNoGateway) {
		err = nil // the states say it
	}
	return views, err
}

func (s *Server) showEndpoint(_ http.ResponseWriter, r *http.Request, in *Installation) (any, error) {
	if err := query(r).err; err != nil {
		return nil, err
	}
	view, err := in.Endpoints.Endpoint(r.Context(), r.PathValue("name"))
	if view != nil && errors.Is(err, control.ErrNoGateway) {
		err = nil
	}
	return view, err
}

func (s *Server) pauseEndpoint(_ http.ResponseWriter, r *http.Request, in *Installation) (any, error) {
	var body struct {
		Reason string `json:"reason"`
	}
	return actOn(r, in, &body, func(name string, by audit.Actor) (any, error) {
		if err := checkReason(body.Reason); err != nil {
			return nil, err
		}
		return in.Endpoints.Pause(r.Context(), by, name, body.Reason)
	})
}

func (s *Server) resumeEndpoint(_ http.ResponseWriter, r *http.Request, in *Installation) (any, error) {
	var body struct {
		Reason    string `json:"reason"`
		SkipFirst bool   `json:"skip_first"`
	}
	return actOn(r, in, &body, func(name string, by audit.Actor) (any, error) {
		if err := checkReason(body.Reason); err != nil {
			return nil, err
		}
		return in.Endpoints.Resume(r.Context(), by, name, body.Reason, body.SkipFirst)
	})
}

func (s *Server) pingEndpoint(_ http.ResponseWriter, r *http.Request, in *Installation) (any, error) {
	var body struct {
		Timeout string `json:"timeout"`
	}
	return actOn(r, in, &body, func(name string, by audit.Actor) (any, error) {
		timeout := pingTime
		if body.Timeout != "" {
			var err error
			if timeout, err = time.ParseDuration(body.Timeout); err != nil || timeout <= 0 || timeout > min(pingTime, endpoint.MaxTimeout) {
				return nil, badRequest("timeout: %q is not a duration of at most %v, such as 3s", body.Timeout, pingTime)
			}
		}
		return in.Endpoints.Ping(r.Context(), by, name, timeout)
	})
}

// actOn reads the body of a request and acts on the endpoint of its path, if
// anything is known of that.
func actOn(r *http.Request, in *Installation, body any, act func(name string, by audit.Actor) (any, error)) (any, error) {
	if err := query(r).err; err != nil {
		return nil, err
	}
	if err := decode(r, body); err != nil {
		return nil, err
	}
	name := r.PathValue("name")
	if err := in.Endpoints.Check(r.Context(), name); err != nil {
		return nil, err
	}
	return act(name, whoIs(r).actor)
}

func checkReason(reason string) error {
	if len(reason) > maxReason {
		return badRequest("reason: has more than %d bytes", maxReason)
	}
	return nil
}
