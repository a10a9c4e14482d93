package jsapi_test

import (
	"testing"

	"go.uber.org/goleak"

	"fanjet/internal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }
