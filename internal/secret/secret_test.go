package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"text/template"

	"github.com/goccy/go-yaml"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const hidden = "CANARY-of-a-secret"

// shows reports whether text has the secret, plainly or encoded.
func shows(text string) bool {
	for _, form := range []string{
		hidden, url.QueryEscape(hidden), base64.StdEncoding.EncodeToString([]byte(hidden))[:20],
		fmt.Sprintf("%x", hidden), fmt.Sprintf("%X", hidden), fmt.Sprintf("%d", []byte(hidden))[1:20], fmt.Sprintf("% x", hidden),
	} {
		if strings.Contains(text, form) {
			return true
		}
	}
	return false
}

// holders have a secret in every place where a program may have one.
func holders() map[string]any {
	v := New(hidden)
	type exported struct{ V Value }
	type unexported struct{ v Value }
	type nested struct{ u *unexported }
	return map[string]any{
		"value": v, "pointer": &v, "slice": []Value{v}, "array": [1]Value{v},
		"map":      map[string]Value{"v": v},
		"exported": exported{v}, "pointer to exported": &exported{v},
		"unexported": unexported{v}, "pointer to unexported": &unexported{v}, "slice of unexported": []unexported{{v}},
		"nested": nested{&unexported{v}}, "interface": []any{v, unexported{v}},
	}
}

func TestNothingShowsASecret(t *testing.T) {
	t.Parallel()
	for name, holder := range holders() {
		for verb := range strings.SplitSeq("v +v #v s q x X d T t c U o b e f g p 20v -20s .3s", " ") {
			if text := fmt.Sprintf("%"+verb, holder); shows(text) {
				t.Errorf("%%%s of the %s shows the secret: %s", verb, name, text)
			}
		}
		if text := fmt.Errorf("failed with %v: %w", holder, errors.New("reason")).Error(); shows(text) {
			t.Errorf("an error with the %s shows the secret: %s", name, text)
		}
		for encoding, encode := range map[string]func(any) ([]byte, error){"JSON": json.Marshal, "YAML": yaml.Marshal, "XML": xml.Marshal} {
			if text, err := encode(holder); shows(string(text)) || err != nil && shows(err.Error()) {
				t.Errorf("the %s of the %s shows the secret: %s, %v", encoding, name, text, err)
			}
		}
		for logger, log := range map[string]func(*bytes.Buffer, any){
			"zap":        func(b *bytes.Buffer, v any) { zapLogger(b, zapcore.NewJSONEncoder).Info("m", zap.Any("v", v)) },
			"zap text":   func(b *bytes.Buffer, v any) { zapLogger(b, zapcore.NewConsoleEncoder).Info("m", zap.Any("v", v)) },
			"zap deep":   func(b *bytes.Buffer, v any) { zapLogger(b, zapcore.NewJSONEncoder).Info("m", zap.Reflect("v", v)) },
			"zap sugar":  func(b *bytes.Buffer, v any) { zapLogger(b, zapcore.NewJSONEncoder).Sugar().Infow("m", "v", v) },
			"slog":       func(b *bytes.Buffer, v any) { slog.New(slog.NewTextHandler(b, nil)).Info("m", "v", v) },
			"slog JSON":  func(b *bytes.Buffer, v any) { slog.New(slog.NewJSONHandler(b, nil)).Info("m", "v", v) },
			"a template": func(b *bytes.Buffer, v any) { _ = template.Must(template.New("").Parse("{{.}}")).Execute(b, v) },
		} {
			var b bytes.Buffer
			if log(&b, holder); shows(b.String()) || b.Len() == 0 {
				t.Errorf("%s shows the %s: %s", logger, name, &b)
			}
		}
	}
	if v := New(hidden); fmt.Sprint(v) != redacted || v.String() != redacted || zap.Stringer("v", v).Interface.(fmt.Stringer).String() != redacted {
		t.Errorf("a secret is shown as %v", v)
	}
}

func zapLogger(b *bytes.Buffer, encoder func(zapcore.EncoderConfig) zapcore.Encoder) *zap.Logger {
	return zap.New(zapcore.NewCore(encoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(b), zap.DebugLevel))
}

func TestPanicDoesNotShowASecret(t *testing.T) {
	t.Parallel()
	for name, holder := range holders() {
		func() {
			defer func() {
				if text := fmt.Sprintf("panic: %v", recover()); shows(text) {
					t.Errorf("a panic with the %s shows the secret: %s", name, text)
				}
			}()
			panic(holder)
		}()
	}
}

func TestValue(t *testing.T) {
	t.Parallel()
	a, b, c, none := New("a"), New("a"), New("c"), New("")
	if a.Reveal() != "a" || none.Reveal() != "" || (Value{}).Reveal() != "" {
		t.Errorf("Reveal() = %q, %q, %q", a.Reveal(), none.Reveal(), Value{}.Reveal())
	}
	if a.IsZero() || !none.IsZero() || !(Value{}).IsZero() {
		t.Error("IsZero is wrong")
	}
	for _, tt := range []struct {
		x, y Value
		want bool
	}{{a, a, true}, {a, b, true}, {a, c, false}, {a, none, false}, {none, Value{}, true}} {
		if tt.x.Equal(tt.y) != tt.want || tt.y.Equal(tt.x) != tt.want || reflect.DeepEqual(tt.x, tt.y) != tt.want {
			t.Errorf("%q and %q: equal must be %v, also to reflect.DeepEqual, which config.Compare uses", tt.x.Reveal(), tt.y.Reveal(), tt.want)
		}
	}
}

func TestDigest(t *testing.T) {
	t.Parallel()
	a, again, b := New("a"), New("a"), New("b")
	one, other := []byte("one"), []byte("other")
	if a.Digest(one) != again.Digest(one) || a.Digest(one) == b.Digest(one) || a.Digest(one) == a.Digest(other) {
		t.Error("digests do not tell secrets apart, or do not depend on the key")
	}
}

func TestHideIn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ secret, text, want string }{
		{"whsec_abc/defgh", "no whsec_abc/defgh, abc/defgh", "no [redacted], [redacted]"},
		{"whsec_abc/defgh", `{"a": "whsec_abc\/defgh"}`, `{"a": "[redacted]"}`},
		{"whsec_abc/defgh", "whsec_abc and defgh", "whsec_abc and defgh"},
		{"short", "short is not hidden, nor is x_short", "short is not hidden, nor is x_short"},
		{"", "nothing", "nothing"},
	} {
		if got := New(tt.secret).HideIn(tt.text); got != tt.want {
			t.Errorf("%q in %q: %q, want %q", tt.secret, tt.text, got, tt.want)
		}
	}
}
