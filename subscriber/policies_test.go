package subscriber

import (
	"errors"
	"net/netip"
	"testing"

	"fanjet/subscriber/egress"
	"fanjet/subscriber/outcome"
)

// ownListeners is what [Own] knows of a machine without interfaces.
func ownListeners(all ...netip.AddrPort) egress.Own {
	return egress.Own{Listeners: func() []netip.AddrPort { return all }}
}

// allowing reads entries of allow_cidrs.
func allowing(t *testing.T, entries ...string) (all []egress.AllowedNet) {
	t.Helper()
	for _, entry := range entries {
		one, err := egress.ParseAllowedNet(entry)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

func gotStatus(status int) outcome.Result {
	return outcome.Result{Status: status, Class: outcome.StatusClass(status)}
}

func gotNone(class outcome.Class) outcome.Result {
	return outcome.Result{Class: class, Err: errors.New("x")}
}
