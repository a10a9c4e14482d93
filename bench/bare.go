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
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/broker"
)

// bareConsumer is what the bare loops of a measurement share.
const bareConsumer = "bare"

// startBare is the child that is a bare loop: one stage, no matching, no
// failures. The event itself says which endpoint gets it.
func startBare(j job) (work, error) {
	var server *broker.Server
	var err error
	if j.NATS == "" {
		if server, err = natsServer(j.Dir, j.Tier); err != nil {
			return work{}, err
		}
	}
	nc, err := connectNATS(j.Dir, j.NATS, server)
	if err != nil {
		return work{}, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return work{}, err
	}
	stopProfile, err := startProfile(j.Profile)
	if err != nil {
		return work{}, err
	}
	began := time.Now()
	loop, err := newBareLoop(js, j)
	if err != nil {
		return work{}, err
	}
	w := work{hello: hello{Began: began.UnixNano()}}
	if server != nil {
		w.hello.URL = server.URL()
	}
	w.stop = func() error {
		stopProfile()
		err := loop.stop()
		nc.Close()
		if server != nil {
			server.Shutdown()
		}
		return err
	}
	return w, nil
}

// bareLoop pulls, signs, POSTs and acks, with a fixed number of workers.
type bareLoop struct {
	client    *http.Client
	sink      string
	consuming jetstream.ConsumeContext
	work      chan jetstream.Msg
	workers   sync.WaitGroup

	mu     sync.Mutex
	failed error // the first one
}

func newBareLoop(js jetstream.JetStream, j job) (*bareLoop, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	consumer, err := js.CreateConsumer(ctx, benchStream, jetstream.ConsumerConfig{
		Durable: bareConsumer, AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 4096, AckWait: 30 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	b := &bareLoop{
		client: &http.Client{
			Transport: &http.Transport{MaxIdleConns: j.InFlight, MaxIdleConnsPerHost: j.InFlight, DisableCompression: true},
			Timeout:   30 * time.Second,
		},
		sink: j.Sink,
		work: make(chan jetstream.Msg),
	}
	for range j.InFlight {
		b.workers.Go(func() {
			for m := range b.work {
				if err := b.deliver(m); err != nil {
					b.fail(err)
				}
			}
		})
	}
	b.consuming, err = consumer.Consume(func(m jetstream.Msg) { b.work <- m }, jetstream.PullMaxMessages(512))
	return b, err
}

func (b *bareLoop) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed == nil {
		b.failed = err
	}
}

func (b *bareLoop) stop() error {
	b.consuming.Stop()
	<-b.consuming.Closed()
	close(b.work)
	b.workers.Wait()
	return b.failed
}

func (b *bareLoop) deliver(m jetstream.Msg) error {
	id, now := m.Headers().Get(nats.MsgIdHdr), strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte("0123456789abcdef0123456789abcdef"))
	_, _ = io.WriteString(mac, id+"."+now+".")
	mac.Write(m.Data())
	_, name, _ := strings.Cut(m.Subject(), ".")
	req, err := http.NewRequest(http.MethodPost, b.sink+"/"+behaveOK+"/"+name+"-0", bytes.NewReader(m.Data())) //nolint:noctx // the client has a timeout
	if err != nil {
		return err
	}
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "Webhook-Id": {id}, "Webhook-Timestamp": {now},
		"Webhook-Signature": {"v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))},
	}
	resp, err := b.client.Do(req)
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
