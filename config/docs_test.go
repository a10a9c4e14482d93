package config

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
)

const docs = "../docs/configuration.md"

// knownKeys are the lists of keys that are accepted, as the messages about unknown
// keys give them.
func knownKeys(t *testing.T) (lists [][]string) {
	t.Helper()
	const unknown = "zzzzzzzzzzzzzzzzzz: 1"
	path := write(t, "version: 1\n"+unknown+`
nats: {`+unknown+`, embedded: {`+unknown+`, users: [{`+unknown+`}]}, tls: {`+unknown+`}}
sources: [{`+unknown+`}]
admin: {`+unknown+`, tls: {`+unknown+`}, tokens: [{`+unknown+`}]}
delivery: {`+unknown+`}
dead_letters: {`+unknown+`}
canary: {`+unknown+`}
egress: {`+unknown+`, proxy: {`+unknown+`}}
defaults: {`+unknown+`, retry: {`+unknown+`}, circuit: {`+unknown+`}}
subscriptions: [{`+unknown+`}]
include: [{`+unknown+`}]
`)
	_, err := Load(path, Options{})
	problems, ok := errors.AsType[*Errors](err)
	if !ok {
		t.Fatalf("Load = %v, want *Errors", err)
	}
	for _, p := range problems.Problems {
		if _, list, ok := strings.Cut(p.Message, "known here: "); ok {
			lists = append(lists, strings.Split(list, ", "))
		}
	}
	if len(lists) != 19 {
		t.Errorf("%d lists of keys, want 19:\n%v", len(lists), err)
	}
	return lists
}

// Every key that is accepted must be explained.
func TestDocsExplainEveryKey(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range knownKeys(t) {
		for _, key := range list {
			if !regexp.MustCompile("`([a-z_.*]+[.])?" + key + "`").Match(text) {
				t.Errorf("%s does not explain `%s` (known beside %v)", docs, key, list)
			}
		}
	}
}

// The long example says that every key is in it.
func TestExampleHasEveryKey(t *testing.T) {
	t.Parallel()
	const example = "../examples/fanjet.yaml"
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range knownKeys(t) {
		for _, key := range list {
			if !regexp.MustCompile(`(?m)(^[ #-]*|[{,] *)` + key + `:`).Match(text) {
				t.Errorf("%s lacks %s (known beside %v)", example, key, list)
			}
		}
	}
}

// Every complete configuration in the documentation loads.
func TestDocsExamples(t *testing.T) {
	t.Parallel()
	for _, page := range []string{docs, "../docs/nats.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
		for _, block := range blocks {
			mustLoad(t, write(t, block[1]), Options{NoSecrets: true})
		}
		if page == docs && len(blocks) < 4 || len(blocks) == 0 {
			t.Errorf("only %d examples in %s", len(blocks), page)
		}
	}
}
