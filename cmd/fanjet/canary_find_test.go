package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// canary is a text that must not turn up.
type canary struct {
	what string // such as "a secret"
	text string
}

// forms are the ways in which a text may be written: as it is, and encoded as
// bytes usually are, at whatever place in something longer.
func forms(text string) map[string]string {
	raw := []byte(text)
	out := map[string]string{
		"plain":   text,
		"hex":     hex.EncodeToString(raw),
		"HEX":     strings.ToUpper(hex.EncodeToString(raw)),
		"spaced":  fmt.Sprintf("% x", raw),
		"numbers": strings.Trim(fmt.Sprintf("%d", raw), "[]"),
		"JSON":    strings.Trim(strings.ReplaceAll(fmt.Sprintf("%d", raw), " ", ","), "[]"),
		"query":   url.QueryEscape(text),
		"path":    url.PathEscape(text),
		"quoted":  strings.Trim(strconv.Quote(text), `"`),
	}
	for shift := range 3 { // the bytes before it decide how it comes out
		whole := base64.StdEncoding.EncodeToString(append(bytes.Repeat([]byte{0}, shift), raw...))
		inner := whole[4*((shift+2)/3) : len(whole)-4]
		out[fmt.Sprint("base64 ", shift)] = inner
		out[fmt.Sprint("base64url ", shift)] = strings.NewReplacer("+", "-", "/", "_").Replace(inner)
	}
	return out
}

// find returns what of the canaries is in a text, and in which form.
func find(text string, canaries []canary) []string {
	var found []string
	for _, c := range canaries {
		for form, written := range forms(c.text) {
			if at := strings.Index(text, written); at >= 0 {
				around := text[max(0, at-120):min(len(text), at+len(written)+40)]
				found = append(found, fmt.Sprintf("%s, %s: …%s…", c.what, form, around))
				break
			}
		}
	}
	return found
}

// What does not find a leak proves nothing.
func TestCanariesAreFound(t *testing.T) {
	t.Parallel()
	const text = "CANARY of a/secret+with=signs"
	canaries := []canary{{"a secret", text}}
	for _, before := range []string{"", "x", "xy", "xyz", `{"a":"`} {
		whole := before + text + " and more"
		for name, leak := range map[string]string{
			"plain": whole, "hex": fmt.Sprintf("%x", whole), "HEX": fmt.Sprintf("%X", whole), "bytes": fmt.Sprintf("%d", []byte(whole)),
			"base64":     base64.StdEncoding.EncodeToString([]byte(whole)),
			"raw base64": base64.RawURLEncoding.EncodeToString([]byte(whole)),
			"query":      url.Values{"a": {whole}}.Encode(), "path": url.PathEscape(whole), "quoted": fmt.Sprintf("%q", whole),
		} {
			if len(find("something "+leak+" behind", canaries)) != 1 {
				t.Errorf("%s behind %q is not found: %s", name, before, leak)
			}
		}
	}
	if found := find("CANARY of nothing", canaries); len(found) > 0 {
		t.Errorf("found %v in a text that has none", found)
	}
}
