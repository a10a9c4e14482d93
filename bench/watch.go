package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// arrived waits until healthy endpoints received so many events, or until the
// world's time is up, which is no error: the audit will tell.
func (w *world) arrived(ctx context.Context, want int) error {
	return w.await(ctx, 20*time.Millisecond, func(p progress) bool { return p.Arrived >= want })
}

// await looks at the receiver again and again until it is as wanted, or until
// the world's time is up.
func (w *world) await(ctx context.Context, every time.Duration, wanted func(progress) bool) error {
	for time.Now().Before(w.until) {
		p, err := w.progress(ctx)
		if err != nil || wanted(p) {
			return err
		}
		if err := wait(ctx, time.Now().Add(every)); err != nil {
			return err
		}
	}
	return nil
}

// progress asks the receiver how far it is.
func (w *world) progress(ctx context.Context) (p progress, err error) {
	text, err := get(ctx, w.sink.hello.URL+"/progress")
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(text, &p)
}

// report asks the receiver what every endpoint received.
func (w *world) report(ctx context.Context) (map[string]received, error) {
	text, err := get(ctx, w.sink.hello.URL+"/report")
	if err != nil {
		return nil, err
	}
	var got map[string]received
	return got, json.Unmarshal(text, &got)
}

// startScraping reads the metrics of the gateways again and again, as a
// monitoring system would.
func (w *world) startScraping(ctx context.Context) {
	ctx, w.scraped = context.WithCancel(ctx)
	if w.Scrape <= 0 {
		return
	}
	for _, r := range w.runners {
		if r.hello.Admin == "" {
			continue
		}
		w.scrape.Go(func() {
			tick := time.NewTicker(w.Scrape)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					_, _ = get(ctx, "http://"+r.hello.Admin+"/metrics")
				case <-ctx.Done():
					return
				}
			}
		})
	}
}

func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}
