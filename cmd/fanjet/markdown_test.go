package main

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// block is a fenced block of a Markdown document.
type block struct{ language, text string }

var fence = regexp.MustCompile("(?ms)^ *```([a-z]*)\n(.*?)^ *```$")

func blocksOf(text string) []block {
	var blocks []block
	for _, m := range fence.FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, block{m[1], m[2]})
	}
	return blocks
}

// shell is what of a block is for a shell: all of a script, the lines with a
// prompt of a transcript, the commands of a systemd unit.
func (b block) shell() string {
	prompt := map[string]string{"sh": "", "console": "$ ", "ini": "ExecStart="}
	begin, ok := prompt[b.language]
	if !ok {
		return ""
	}
	var lines strings.Builder
	for line := range strings.Lines(b.text) {
		if command, ok := strings.CutPrefix(line, begin); ok {
			lines.WriteString(command)
		}
	}
	return lines.String()
}

var (
	span = regexp.MustCompile("`([^`\n]+)`")
	link = regexp.MustCompile(`\]\(([^)\s]+)\)`)
)

// spansOf returns the code within sentences.
func spansOf(text string) []string {
	var spans []string
	for _, m := range span.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		spans = append(spans, m[1])
	}
	return spans
}

// linksOf returns where the links of a document lead.
func linksOf(text string) []string {
	text = span.ReplaceAllString(fence.ReplaceAllString(text, ""), "code")
	var links []string
	for _, m := range link.FindAllStringSubmatch(text, -1) {
		links = append(links, m[1])
	}
	return links
}

// anchorsOf returns the anchors that viewers give to the headings.
func anchorsOf(text string) []string {
	var anchors []string
	for line := range strings.Lines(fence.ReplaceAllString(text, "")) {
		heading := strings.TrimLeft(line, "#")
		if heading == line || !strings.HasPrefix(heading, " ") {
			continue
		}
		anchors = append(anchors, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			default:
				return -1
			}
		}, strings.TrimSpace(heading)))
	}
	return anchors
}

var assignment = regexp.MustCompile(`^[A-Z_]+=`)

// fanjetLines returns the arguments of every call of fanjet in shell text.
func fanjetLines(text string) [][]string {
	var lines [][]string
	for _, words := range commandsOf(text) {
		for len(words) > 0 && assignment.MatchString(words[0]) {
			words = words[1:]
		}
		if len(words) > 0 && filepath.Base(words[0]) == "fanjet" {
			lines = append(lines, words[1:])
		}
	}
	return lines
}

// commandsOf splits shell text into simple commands and their words. It knows
// quotes, comments, redirections, lists, pipes and substitutions, which is what
// documents use. A command within double quotes stays a part of its word.
func commandsOf(text string) [][]string {
	var (
		commands [][]string
		words    []string
		word     []rune
		inWord   bool
		redirect bool // the next word is a file
		quote    rune
	)
	endWord := func() {
		if inWord && !redirect {
			words = append(words, string(word))
		}
		redirect = redirect && !inWord
		word, inWord = word[:0], false
	}
	endCommand := func() {
		endWord()
		if len(words) > 0 {
			commands = append(commands, words)
		}
		words, redirect = nil, false
	}
	runes := []rune(strings.ReplaceAll(text, "\\\n", " "))
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word = append(word, r)
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case r == '\\' && i+1 < len(runes):
			i++
			word, inWord = append(word, runes[i]), true
		case r == '#' && !inWord:
			for i+1 < len(runes) && runes[i+1] != '\n' {
				i++
			}
		case r == '<' || r == '>':
			endWord()
			redirect = true
		case strings.ContainsRune("|&;()\n", r):
			endCommand()
		case unicode.IsSpace(r):
			endWord()
		default:
			word, inWord = append(word, r), true
		}
	}
	endCommand()
	return commands
}

func TestFanjetLines(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][][]string{
		"fanjet serve\n": {{"serve"}},
		"fanjet dlq export --endpoint a > a.jsonl && fanjet dlq purge": {{"dlq", "export", "--endpoint", "a"}, {"dlq", "purge"}},
		"fanjet publish a --data '{\"b\": 1}' # an event":              {{"publish", "a", "--data", `{"b": 1}`}},
		"export S=$(fanjet secret new)":                                {{"secret", "new"}},
		"source <(fanjet completion bash)":                             {{"completion", "bash"}},
		"FANJET_NATS=nats://a bin/fanjet \\\n  check":                  {{"check"}},
		"echo fanjet; nats pub fanjet":                                 nil,
		`fanjet listen --secret "$S" --status 410`:                     {{"listen", "--secret", "$S", "--status", "410"}},
	} {
		got := fanjetLines(text)
		if !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
