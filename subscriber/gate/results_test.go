package gate

import (
	"errors"
	"fanjet/subscriber/outcome"
	"time"
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
