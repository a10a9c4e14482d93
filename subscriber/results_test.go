package subscriber

import (
	"errors"

	"fanjet/subscriber/outcome"
)

func gotStatus(status int) outcome.Result {
	return outcome.Result{Status: status, Class: outcome.StatusClass(status)}
}

func gotNone(class outcome.Class) outcome.Result {
	return outcome.Result{Class: class, Err: errors.New("x")}
}
