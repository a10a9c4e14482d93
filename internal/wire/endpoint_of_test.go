package wire

import "testing"

func TestEndpointOf(t *testing.T) {
	t.Parallel()
	for _, names := range []Names{NewNames(""), NewNames("shop-2")} {
		for _, subject := range []string{
			names.DeliverSubject("a-b"), names.DueSubject("a-b"), names.LaneSubject("a-b"), names.DeadLetterSubject("a-b"), names.RetrySubject("a-b", "key"),
		} {
			if got := EndpointOf(subject); got != "a-b" {
				t.Errorf("%s: %q", subject, got)
			}
		}
	}
	for _, subject := range []string{"", "fanjet", "fanjet.deliver", "fanjet.deliver."} {
		if got := EndpointOf(subject); got != "" {
			t.Errorf("%q: %q", subject, got)
		}
	}
}
