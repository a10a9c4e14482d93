package gate

import (
	"errors"
	"time"

	"fanjet/subscriber/outcome"
)

func answered(status int) outcome.Result {
	return outcome.Result{Status: status, Class: outcome.StatusClass(status)}
}

func broke(class outcome.Class) outcome.Result {
	return outcome.Result{Class: class, Err: errors.New("x")}
}

func asked(status int, wait time.Duration) outcome.Result {
	return outcome.Result{Status: status, Class: outcome.StatusClass(status), RetryAfter: wait}
}
