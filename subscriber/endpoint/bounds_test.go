package endpoint

import (
	"strings"
	"testing"
)

func TestCheckHeader(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"X-Team": "payments", "Authorization": "Bearer abc", "x_odd": "a\tb", "X-Empty": "", "X-Name": "bücher",
	} {
		if err := CheckHeader(name, value); err != nil {
			t.Errorf("CheckHeader(%q, %q) = %v, want nil", name, value, err)
		}
	}
	const private = "hunter2"
	for name, value := range map[string]string{
		"":                  private,
		"X Team":            private,
		"X-Team:":           private,
		"X-Té":              private,
		"Host":              private,
		"content-type":      private,
		"Content-Length":    private,
		"Transfer-Encoding": private,
		"CONNECTION":        private,
		"User-Agent":        private,
		"Traceparent":       private,
		"TRACESTATE":        private,
		"Content-encoding":  private,
		"Webhook-Id":        private,
		"webhook-extra":     private,
		"Ce-Id":             private,
		"Fanjet-Subject":    private,
		"X-Line":            private + "\r\nX-Other: 1",
		"X-Null":            private + "\x00",
		"X-Space":           private + " ",
		"X-Long":            strings.Repeat(private, 2000),
	} {
		err := CheckHeader(name, value)
		if err == nil {
			t.Errorf("CheckHeader(%q, %q) = nil, want an error", name, value)
		} else if strings.Contains(err.Error(), private) {
			t.Errorf("CheckHeader(%q) repeats the value: %v", name, err)
		}
	}
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"billing": true, "b": true, "a-1": true, strings.Repeat("a", 63): true,
		"": false, "Billing": false, "a.b": false, "a_b": false, "a b": false, "é": false, strings.Repeat("a", 64): false, "a\n": false,
	} {
		if got := CheckName(name) == nil; got != want {
			t.Errorf("CheckName(%q) accepts: %v, want %v", name, got, want)
		}
	}
}

func TestCheckSecret(t *testing.T) {
	t.Parallel()
	const body = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	if err := CheckSecret("whsec_" + body); err != nil {
		t.Errorf("a good secret: %v", err)
	}
	for _, text := range []string{"", body, "whsec_", "whsec_c2hvcnQ=", "whsec_" + body + "!", "whsk_" + body, "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="} {
		err := CheckSecret(text)
		if err == nil {
			t.Errorf("CheckSecret(%q) = nil, want an error", text)
		} else if len(text) > 10 && strings.Contains(err.Error(), text[len(text)-8:]) {
			t.Errorf("CheckSecret repeats the secret: %v", err)
		}
	}
}
