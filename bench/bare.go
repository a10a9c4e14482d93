package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"fanjet/internal/broker"
)

// drainBare is the bare loop: one stage, no matching, no failures.
func drainBare(s setup) (figures, error) {
	e, cleanup, err := embedded(s.Tier)
	if err != nil {
		return figures{}, err
	}
	defer cleanup()
	if err := preload(e, s); err != nil {
		return figures{}, err
	}
	server, err := broker.StartEmbedded(e, zap.NewNop())
	if err != nil {
		return figures{}, err
	}
	defer server.Shutdown()
	nc, err := nats.Connect("", nats.InProcessServer(server))
	if err != nil {
		return figures{}, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return figures{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
	defer cancel()

	watch := startWatch()
	consumer, err := js.CreateConsumer(ctx, benchStream, jetstream.ConsumerConfig{
		Durable: "bare", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 4096, AckWait: 30 * time.Second,
	})
	if err != nil {
		return figures{}, err
	}
	client := &http.Client{
		Transport: &http.Transport{MaxIdleConns: s.InFlight, MaxIdleConnsPerHost: s.InFlight, DisableCompression: true},
		Timeout:   30 * time.Second,
	}
	work := make(chan jetstream.Msg)
	failed := make(chan error, 1)
	var workers sync.WaitGroup
	for range s.InFlight {
		workers.Go(func() {
			for m := range work {
				if err := postBare(ctx, client, s.Sink, m); err != nil {
					select {
					case failed <- err:
						cancel()
					default:
					}
				}
			}
		})
	}
	consuming, err := consumer.Consume(func(m jetstream.Msg) { work <- m }, jetstream.PullMaxMessages(512))
	if err != nil {
		return figures{}, err
	}
	err = settled(ctx, js, benchStream, "bare", uint64(s.Events))
	f := watch.stop(s.Events)
	consuming.Stop()
	<-consuming.Closed()
	close(work)
	workers.Wait()
	select {
	case err = <-failed:
	default:
	}
	return f, err
}

func postBare(ctx context.Context, client *http.Client, url string, m jetstream.Msg) error {
	id, now := m.Headers().Get(nats.MsgIdHdr), strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte("0123456789abcdef0123456789abcdef"))
	_, _ = io.WriteString(mac, id+"."+now+".")
	mac.Write(m.Data())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(m.Data()))
	if err != nil {
		return err
	}
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "Webhook-Id": {id}, "Webhook-Timestamp": {now},
		"Webhook-Signature": {"v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))},
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the receiver answered %s", resp.Status)
	}
	return m.Ack()
}
