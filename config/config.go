// Package config reads the YAML that declares a Fanjet installation.
package config

import (
	"time"

	"fanjet/admin"
	"fanjet/gateway/match"
	"fanjet/internal/broker"
	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
)

// Config is a configuration that passed every check.
type Config struct {
	NATS          broker.Settings
	Sources       []Source
	Admin         Admin
	Delivery      Delivery
	DeadLetters   DeadLetters
	Canary        Canary
	Egress        egress.Policy
	Endpoints     []endpoint.Settings  // in order of names
	Subscriptions []match.Subscription // in order of declaration
	// Filters has the filters of the subscriptions compiled. It can be nil in a
	// configuration that was not loaded.
	Filters *match.Filters
	// SecretFiles are those that file: references name, each once, sorted.
	SecretFiles []string
	Warnings    []Problem
	// Declared says in which file things stand; empty in a configuration that was
	// not loaded.
	Declared Declared
}

// Source is a stream of events.
type Source struct {
	Stream     string
	Subjects   []string
	Create     bool // false: somebody else owns the stream
	MaxAge     time.Duration
	MaxBytes   int64 // 0: none
	ByPosition bool  // identity: position
}

// Admin are the settings of the HTTP listener for operators.
type Admin = admin.Settings

// DeadLetters limits the dead-letter stream; 0 means no limit.
type DeadLetters struct {
	MaxAge   time.Duration
	MaxBytes int64
}

// Problem is something wrong in a file, at a place (lines and columns count
// from 1; 0: not known).
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
}
