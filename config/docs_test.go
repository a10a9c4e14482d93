package config

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
)

const docs = "../docs/configuration.md"

// Every key that is accepted must be explained. The list of keys is the one
// that the messages about unknown keys give.
func TestDocsExplainEveryKey(t *testing.T) {
	t.Parallel()
	const unknown = "zzzzzzzzzzzzzzzzzz: 1"
	path := write(t, "version: 1\n"+unknown+`
nats: {`+unknown+`, embedded: {`+unknown+`, users: [{`+unknown+`}]}, tls: {`+unknown+`}}
sources: [{`+unknown+`}]
admin: {`+unknown+`, tls: {`+unknown+`}, tokens: [{`+unknown+`}]}
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
	text, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	lists := 0
	for _, p := range problems.Problems {
		_, list, ok := strings.Cut(p.Message, "known here: ")
		if !ok {
			continue
		}
		lists++
		for key := range strings.SplitSeq(list, ", ") {
			if !regexp.MustCompile("`([a-z_.*]+[.])?" + key + "`").Match(text) {
				t.Errorf("%s does not explain `%s` (%s)", docs, key, p.Message)
			}
		}
	}
	if lists != 18 {
		t.Errorf("%d lists of keys, want 18:\n%v", lists, err)
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
