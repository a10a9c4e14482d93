package main

import (
	"math"
	"slices"
	"time"
)

// spread describes how long things took, in milliseconds.
type spread struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

func spreadOf(took []time.Duration) spread {
	if len(took) == 0 {
		return spread{}
	}
	slices.Sort(took)
	at := func(q float64) float64 { return took[rank(q, len(took))].Seconds() * 1e3 }
	return spread{Count: len(took), P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: at(1)}
}

// rank is the index of the quantile q among n sorted values: the smallest one
// that at least the share q of them does not exceed.
func rank(q float64, n int) int {
	return min(max(int(math.Ceil(q*float64(n)))-1, 0), n-1)
}

// mean of what f says of each item, 0 for none.
func mean[T any](items []T, f func(T) int) float64 {
	sum := 0
	for _, item := range items {
		sum += f(item)
	}
	return float64(sum) / float64(max(1, len(items)))
}

// median of what f says of each item; for an even count the mean of the middle
// two, NaN for none.
func median[T any](items []T, f func(T) float64) float64 {
	v := make([]float64, len(items))
	for i, item := range items {
		v[i] = f(item)
	}
	slices.Sort(v)
	switch n := len(v); {
	case n == 0:
		return math.NaN()
	case n%2 == 1:
		return v[n/2]
	default:
		return (v[n/2-1] + v[n/2]) / 2
	}
}
