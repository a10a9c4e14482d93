package webhook_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"fanjet/webhook"
)

func TestVerifyVectors(t *testing.T) {
	t.Parallel()
	for _, v := range vectors() {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			h := header(v.id, v.seconds, v.signature)
			if err := mustVerifier(t, v.seconds, v.secret).Verify(h, []byte(v.body)); err != nil {
				t.Errorf("Verify = %v", err)
			}
			if v.name == "ed25519" {
				if err := mustVerifier(t, v.seconds, vectorPublicKey).Verify(h, []byte(v.body)); err != nil {
					t.Errorf("Verify with the public key = %v", err)
				}
			}
			// The clock of the function is the real one; these are years old.
			if err := webhook.Verify(v.secret, h, []byte(v.body)); !errors.Is(err, webhook.ErrTimestamp) {
				t.Errorf("webhook.Verify = %v, want ErrTimestamp", err)
			}
		})
	}
}

func TestVerifyNow(t *testing.T) {
	t.Parallel()
	secret, now := webhook.NewSecret(), time.Now()
	signature, err := webhook.Sign(secret, "id", now, []byte("body"))
	if err != nil {
		t.Fatal(err)
	}
	h := header("id", now.Unix(), signature)
	if err := webhook.Verify(secret, h, []byte("body")); err != nil {
		t.Errorf("Verify = %v", err)
	}
	if err := webhook.Verify("bad", h, []byte("body")); !errors.Is(err, webhook.ErrSecret) {
		t.Errorf("Verify with a bad secret = %v, want ErrSecret", err)
	}
}

func TestVerifySeveralSignaturesAndSecrets(t *testing.T) {
	t.Parallel()
	hmac, ed := vectors()[0], vectors()[2]
	body := []byte(hmac.body)
	other := webhook.NewSecret()
	wrong, err := webhook.Sign(other, "another id", time.Unix(hmac.seconds, 0), body)
	if err != nil {
		t.Fatal(err)
	}
	wrongEd := "v1a," + strings.Repeat("A", 86) + "=="
	for name, tt := range map[string]struct {
		secrets   []string
		signature []string // header lines
		want      error
	}{
		"one of several signatures":    {[]string{hmac.secret}, []string{wrong + " " + hmac.signature}, nil},
		"one of several secrets":       {[]string{other, hmac.secret}, []string{hmac.signature}, nil},
		"several of both":              {[]string{other, ed.secret, hmac.secret}, []string{wrong + " " + wrongEd + " " + ed.signature}, nil},
		"several lines":                {[]string{hmac.secret}, []string{wrong, hmac.signature}, nil},
		"other versions":               {[]string{hmac.secret}, []string{"v2,abc v0 , v1 " + hmac.signature}, nil},
		"extra spaces":                 {[]string{hmac.secret}, []string{wrong + "  " + hmac.signature}, nil},
		"none of them":                 {[]string{hmac.secret, ed.secret}, []string{wrong + " " + wrongEd}, webhook.ErrSignature},
		"secret of the other kind":     {[]string{ed.secret}, []string{hmac.signature}, webhook.ErrSignature},
		"version of the other kind":    {[]string{hmac.secret}, []string{strings.Replace(hmac.signature, "v1,", "v1a,", 1)}, webhook.ErrSignature},
		"version of the other kind, 2": {[]string{ed.secret}, []string{strings.Replace(ed.signature, "v1a,", "v1,", 1)}, webhook.ErrSignature},
		"as many as allowed":           {[]string{hmac.secret}, []string{strings.Repeat(wrong+" ", 15) + hmac.signature}, nil},
		"more than allowed":            {[]string{hmac.secret}, []string{strings.Repeat(wrong+" ", 16) + hmac.signature}, webhook.ErrHeader},
		"more lines than allowed":      {[]string{hmac.secret}, append(strings.Fields(strings.Repeat(wrong+" ", 16)), hmac.signature), webhook.ErrHeader},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := header(hmac.id, hmac.seconds, "")
			h["Webhook-Signature"] = tt.signature
			if err := mustVerifier(t, hmac.seconds, tt.secrets...).Verify(h, body); !errors.Is(err, tt.want) {
				t.Errorf("Verify = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestVerifierWithoutSecretsRefuses(t *testing.T) {
	t.Parallel()
	vec := vectors()[0]
	v := webhook.Verifier{Now: func() time.Time { return time.Unix(vec.seconds, 0) }}
	if err := v.Verify(header(vec.id, vec.seconds, vec.signature), []byte(vec.body)); !errors.Is(err, webhook.ErrSignature) {
		t.Errorf("Verify = %v, want ErrSignature", err)
	}
}

func TestVerifyHeaders(t *testing.T) {
	t.Parallel()
	vec := vectors()[0]
	for name, tt := range map[string]struct {
		change func(http.Header)
		want   error
	}{
		"unchanged":               {func(http.Header) {}, nil},
		"no id":                   {func(h http.Header) { h.Del("webhook-id") }, webhook.ErrMissingHeader},
		"no timestamp":            {func(h http.Header) { h.Del("webhook-timestamp") }, webhook.ErrMissingHeader},
		"no signature":            {func(h http.Header) { h.Del("webhook-signature") }, webhook.ErrMissingHeader},
		"nothing":                 {func(h http.Header) { clear(h) }, webhook.ErrMissingHeader},
		"empty id":                {func(h http.Header) { h.Set("webhook-id", "") }, webhook.ErrMissingHeader},
		"empty timestamp":         {func(h http.Header) { h.Set("webhook-timestamp", "") }, webhook.ErrMissingHeader},
		"empty signature":         {func(h http.Header) { h.Set("webhook-signature", "") }, webhook.ErrMissingHeader},
		"two ids":                 {func(h http.Header) { h.Add("webhook-id", "other") }, webhook.ErrHeader},
		"two timestamps":          {func(h http.Header) { h.Add("webhook-timestamp", "1") }, webhook.ErrHeader},
		"dot in the id":           {func(h http.Header) { h.Set("webhook-id", "a.b") }, webhook.ErrHeader},
		"endless id":              {func(h http.Header) { h.Set("webhook-id", strings.Repeat("a", 257)) }, webhook.ErrHeader},
		"timestamp with a sign":   {func(h http.Header) { h.Set("webhook-timestamp", "+1614265330") }, webhook.ErrHeader},
		"timestamp with a zero":   {func(h http.Header) { h.Set("webhook-timestamp", "01614265330") }, webhook.ErrHeader},
		"timestamp with a point":  {func(h http.Header) { h.Set("webhook-timestamp", "1614265330.0") }, webhook.ErrHeader},
		"timestamp in RFC 3339":   {func(h http.Header) { h.Set("webhook-timestamp", "2021-02-25T15:02:10Z") }, webhook.ErrHeader},
		"hexadecimal timestamp":   {func(h http.Header) { h.Set("webhook-timestamp", "0x6037bb32") }, webhook.ErrHeader},
		"negative timestamp":      {func(h http.Header) { h.Set("webhook-timestamp", "-1") }, webhook.ErrHeader},
		"timestamp that wraps":    {func(h http.Header) { h.Set("webhook-timestamp", "9223372036854775807") }, webhook.ErrHeader},
		"timestamp past all":      {func(h http.Header) { h.Set("webhook-timestamp", "18446744073709551616") }, webhook.ErrHeader},
		"milliseconds":            {func(h http.Header) { h.Set("webhook-timestamp", "1614265330000") }, webhook.ErrHeader},
		"far future":              {func(h http.Header) { h.Set("webhook-timestamp", "253402300799") }, webhook.ErrTimestamp},
		"the epoch":               {func(h http.Header) { h.Set("webhook-timestamp", "0") }, webhook.ErrTimestamp},
		"signature, no version":   {func(h http.Header) { h.Set("webhook-signature", vec.signature[3:]) }, webhook.ErrSignature},
		"signature, only version": {func(h http.Header) { h.Set("webhook-signature", "v1,") }, webhook.ErrSignature},
		"signature, no comma":     {func(h http.Header) { h.Set("webhook-signature", "v1") }, webhook.ErrSignature},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := header(vec.id, vec.seconds, vec.signature)
			tt.change(h)
			if err := mustVerifier(t, vec.seconds, vec.secret).Verify(h, []byte(vec.body)); !errors.Is(err, tt.want) {
				t.Errorf("Verify = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestVerifyTolerance(t *testing.T) {
	t.Parallel()
	vec := vectors()[0]
	signed := time.Unix(vec.seconds, 0)
	for name, tt := range map[string]struct {
		now       time.Time
		tolerance time.Duration
		want      error
	}{
		"at once":                 {signed, 0, nil},
		"just not too old":        {signed.Add(5 * time.Minute), 0, nil},
		"too old":                 {signed.Add(5*time.Minute + time.Nanosecond), 0, webhook.ErrTimestamp},
		"just not too new":        {signed.Add(-5 * time.Minute), 0, nil},
		"too new":                 {signed.Add(-5*time.Minute - time.Nanosecond), 0, webhook.ErrTimestamp},
		"own tolerance":           {signed.Add(time.Hour), time.Hour, nil},
		"beyond an own tolerance": {signed.Add(2 * time.Second), time.Second, webhook.ErrTimestamp},
		"ages later":              {signed.AddDate(400, 0, 0), 0, webhook.ErrTimestamp},
		"ages before":             {signed.AddDate(-1000, 0, 0), 0, webhook.ErrTimestamp},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := mustVerifier(t, 0, vec.secret)
			v.Now = func() time.Time { return tt.now }
			v.Tolerance = tt.tolerance
			if err := v.Verify(header(vec.id, vec.seconds, vec.signature), []byte(vec.body)); !errors.Is(err, tt.want) {
				t.Errorf("Verify = %v, want %v", err, tt.want)
			}
		})
	}
}

// Every bit of what was signed counts, and every character of the signature.
func TestTamperingIsRefused(t *testing.T) {
	t.Parallel()
	for _, vec := range vectors() {
		t.Run(vec.name, func(t *testing.T) {
			t.Parallel()
			v := mustVerifier(t, vec.seconds, vec.secret)
			refuse := func(what string, h http.Header, body string) {
				t.Helper()
				if v.Verify(h, []byte(body)) == nil {
					t.Errorf("%s: accepted", what)
				}
			}
			for i := range vec.body {
				for bit := range 8 {
					b := []byte(vec.body)
					b[i] ^= 1 << bit
					refuse("flipped bit in the body", header(vec.id, vec.seconds, vec.signature), string(b))
				}
				refuse("shortened body", header(vec.id, vec.seconds, vec.signature), vec.body[:i])
			}
			refuse("longer body", header(vec.id, vec.seconds, vec.signature), vec.body+" ")
			refuse("older", header(vec.id, vec.seconds-1, vec.signature), vec.body)
			refuse("newer", header(vec.id, vec.seconds+1, vec.signature), vec.body)
			for i := range vec.id {
				for bit := range 7 {
					id := []byte(vec.id)
					id[i] ^= 1 << bit
					refuse("flipped bit in the id", header(string(id), vec.seconds, vec.signature), vec.body)
				}
			}
			for i := range vec.signature {
				for _, c := range []byte("AZaz09+/=-_,. \n\x00") {
					s := []byte(vec.signature)
					if s[i] == c {
						continue
					}
					s[i] = c
					refuse("changed signature", header(vec.id, vec.seconds, string(s)), vec.body)
				}
				refuse("cut signature", header(vec.id, vec.seconds, vec.signature[:i]), vec.body)
			}
			refuse("longer signature", header(vec.id, vec.seconds, vec.signature+"A"), vec.body)
			refuse("signature with a line break", header(vec.id, vec.seconds, vec.signature[:20]+"\n"+vec.signature[20:]), vec.body)
		})
	}
}

// What is signed is one text; its parts must not be cut anew. With a dot in the
// id, a body that begins with a number would give an old webhook a new time.
func TestPartsCannotBeCutAnew(t *testing.T) {
	t.Parallel()
	secret := webhook.NewSecret()
	signature := mustSigner(t, secret).Sign("msg_a", time.Unix(1000, 0), []byte("9999.body"))
	if err := mustVerifier(t, 1000, secret).Verify(header("msg_a", 1000, signature), []byte("9999.body")); err != nil {
		t.Fatal(err)
	}
	err := mustVerifier(t, 9999, secret).Verify(header("msg_a.1000", 9999, signature), []byte("body"))
	if !errors.Is(err, webhook.ErrHeader) {
		t.Errorf("Verify = %v, want ErrHeader", err)
	}
}

func TestEd25519SignatureHasOneText(t *testing.T) {
	t.Parallel()
	vec := vectors()[2]
	// The last character before the padding carries four bits that do not count.
	text := []byte(vec.signature)
	last := len(text) - 3
	text[last]++
	raw, err := base64.StdEncoding.DecodeString(string(text[4:]))
	if err != nil {
		t.Fatal(err)
	}
	if "v1a,"+base64.StdEncoding.EncodeToString(raw) != vec.signature {
		t.Fatal("the changed text does not decode to the signature; the test is wrong")
	}
	v := mustVerifier(t, vec.seconds, vectorPublicKey)
	if err := v.Verify(header(vec.id, vec.seconds, string(text)), []byte(vec.body)); !errors.Is(err, webhook.ErrSignature) {
		t.Errorf("Verify = %v, want ErrSignature", err)
	}
}
