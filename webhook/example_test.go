package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"

	"fanjet/webhook"
)

// A receiver that sees each event once. Here the sender lives in the same
// program, and sends the same event twice.
func Example() {
	secret := webhook.NewSecret() // usually from the environment

	verifier, err := webhook.NewVerifier(secret)
	if err != nil {
		log.Fatal(err)
	}
	handler, err := webhook.NewHandler(http.HandlerFunc(handle), webhook.HandlerOptions{
		Verifier: verifier,
		Store:    &webhook.MemoryStore{},
		Report:   func(_ *http.Request, err error) { fmt.Println("not handled:", err) },
	})
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()

	for range 2 {
		fmt.Println(send(server.URL, secret, "msg_1", `{"amount": 42}`))
	}
	// Output:
	// handled msg_1: {"amount": 42}
	// 200 OK
	// not handled: webhook was handled before
	// 200 OK
}

func handle(w http.ResponseWriter, r *http.Request) {
	delivery, _ := webhook.FromContext(r.Context())
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Printf("handled %s: %s\n", delivery.ID, body)
}

func send(url, secret, id, body string) string {
	now := time.Now()
	signature, err := webhook.Sign(secret, id, now, []byte(body))
	if err != nil {
		log.Fatal(err)
	}
	request, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set(webhook.HeaderID, id)
	request.Header.Set(webhook.HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
	request.Header.Set(webhook.HeaderSignature, signature)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	response.Body.Close()
	return response.Status
}

func ExampleSign() {
	signature, err := webhook.Sign(
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		"msg_p5jXN8AQM9LWM0D4loKWxJek",
		time.Unix(1614265330, 0),
		[]byte(`{"test": 2432232314}`),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(signature)
	// Output: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=
}

// While a secret is being replaced, the sender signs with both.
func ExampleSigner_Sign() {
	signer, err := webhook.NewSigner(
		"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", // the new one
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	)
	if err != nil {
		log.Fatal(err)
	}
	signature := signer.Sign("msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	for entry := range strings.FieldsSeq(signature) {
		fmt.Println(entry)
	}
	// Output:
	// v1,78nXHjpFP0tVJQW5D0SBwmVyyW87BV/rL6MgfM/Bw44=
	// v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=
}

func ExampleVerifier_Verify() {
	verifier, err := webhook.NewVerifier("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		log.Fatal(err)
	}
	// This request is from 2021. Verified as of its arrival it is genuine.
	verifier.Now = func() time.Time { return time.Unix(1614265331, 0) }

	header := http.Header{}
	header.Set(webhook.HeaderID, "msg_p5jXN8AQM9LWM0D4loKWxJek")
	header.Set(webhook.HeaderTimestamp, "1614265330")
	header.Set(webhook.HeaderSignature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")

	fmt.Println(verifier.Verify(header, []byte(`{"test": 2432232314}`)))
	fmt.Println(verifier.Verify(header, []byte(`{"test": 0}`)))

	verifier.Now = time.Now
	err = verifier.Verify(header, []byte(`{"test": 2432232314}`))
	fmt.Println(errors.Is(err, webhook.ErrTimestamp))
	// Output:
	// <nil>
	// no webhook signature matches
	// true
}

// With a key pair the receiver holds nothing that could sign.
func ExampleNewKeyPair() {
	private, public := webhook.NewKeyPair()

	now, body := time.Now(), []byte("hello")
	signature, err := webhook.Sign(private, "msg_1", now, body)
	if err != nil {
		log.Fatal(err)
	}
	header := http.Header{}
	header.Set(webhook.HeaderID, "msg_1")
	header.Set(webhook.HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
	header.Set(webhook.HeaderSignature, signature)
	fmt.Println(webhook.Verify(public, header, body))

	_, err = webhook.NewSigner(public)
	fmt.Println(errors.Is(err, webhook.ErrSecret))
	// Output:
	// <nil>
	// true
}

func ExampleMemoryStore() {
	store := &webhook.MemoryStore{TTL: 24 * time.Hour, MaxIDs: 10_000}
	ctx := context.Background()
	claim, err := store.Begin(ctx, "msg_1")
	if err != nil {
		log.Fatal(err)
	}
	_, err = store.Begin(ctx, "msg_1")
	fmt.Println(err)
	if err := claim.Done(ctx, true); err != nil {
		log.Fatal(err)
	}
	_, err = store.Begin(ctx, "msg_1")
	fmt.Println(err)
	// Output:
	// webhook is being handled already
	// webhook was handled before
}
