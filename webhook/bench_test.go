package webhook_test

import (
	"bytes"
	"testing"
	"time"

	"fanjet/webhook"
)

func benchmarkSecrets() map[string][]string {
	private, _ := webhook.NewKeyPair()
	return map[string][]string{
		"hmac":    {webhook.NewSecret()},
		"hmac×2":  {webhook.NewSecret(), webhook.NewSecret()},
		"ed25519": {private},
	}
}

// BenchmarkSign signs an event of 1 KiB on every processor at once, as the
// gateway does.
func BenchmarkSign(b *testing.B) {
	for name, secrets := range benchmarkSecrets() {
		b.Run(name, func(b *testing.B) {
			s := mustSigner(b, secrets...)
			body, now := bytes.Repeat([]byte("x"), 1024), time.Now()
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					s.Sign("msg_2b7v4hd3mxo5g6kq7wz3ya5ruc", now, body)
				}
			})
		})
	}
}

// BenchmarkVerify verifies what BenchmarkSign makes.
func BenchmarkVerify(b *testing.B) {
	for name, secrets := range benchmarkSecrets() {
		b.Run(name, func(b *testing.B) {
			const id = "msg_2b7v4hd3mxo5g6kq7wz3ya5ruc"
			body, at := bytes.Repeat([]byte("x"), 1024), time.Unix(1614265330, 0)
			h := header(id, at.Unix(), mustSigner(b, secrets...).Sign(id, at, body))
			v := mustVerifier(b, at.Unix(), secrets...)
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := v.Verify(h, body); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
