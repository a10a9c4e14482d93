package subscriber

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"

	"fanjet/internal/secret"
	"fanjet/internal/wire"
	"fanjet/subscriber/attempt"
	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"
)

const hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

var onLoopback = egress.Policy{
	AllowHTTP:  true,
	AllowCIDRs: []egress.AllowedNet{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}},
	Ports:      []uint16{443},
}

// hookAt is a receiver.
func hookAt(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// attemptAt makes an attempt to deliver something.
func attemptAt(t *testing.T, rawURL string) (out outcome.Result) {
	t.Helper()
	settings := endpoint.Default()
	settings.Secrets = []secret.Value{secret.New(hookSecret)}
	var err error
	if settings.URL, err = url.Parse(rawURL); err != nil {
		t.Fatal(err)
	}
	target, err := attempt.NewTarget(settings, egress.New(onLoopback, egress.GuardOptions{}), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(target.CloseIdle)
	target.Attempt(t.Context(), &wire.Envelope{EventID: "msg_1", Attempt: 1}, nil, []byte("{}"), func(r outcome.Result) { out = r })
	return out
}
