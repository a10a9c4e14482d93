package endpoint

import (
	"encoding/base64"
	"slices"
	"strings"

	"fanjet/internal/secret"
)

// publicSecrets are in documentation that everybody can read.
func publicSecrets() []string {
	return []string{
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", // the examples of Fanjet and of Standard Webhooks
		"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
		"whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
	}
}

// WeakSecret says why a secret that [CheckSecret] accepts can be guessed
// nevertheless, empty if nothing speaks for it. It contains nothing of the
// secret.
func WeakSecret(s secret.Value) string {
	// Random keys of 24 bytes have at least this many different ones, but for one
	// in some billions.
	const leastVariety = 12
	text := s.Reveal()
	if slices.Contains(publicSecrets(), text) {
		return "it is an example from documentation that everybody knows"
	}
	_, encoded, _ := strings.Cut(text, "_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return ""
	}
	slices.Sort(key)
	if variety := len(slices.Compact(key)); variety < leastVariety {
		return "it is not random: most of its bytes repeat"
	}
	return ""
}
