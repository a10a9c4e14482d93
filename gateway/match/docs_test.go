package match

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestGuide runs the tables of docs/filters.md.
func TestGuide(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/filters.md")
	if err != nil {
		t.Fatal(err)
	}
	ev := guideEvent(t, string(text))
	outcomes := map[string]outcome{"true": passed, "false": rejected, "missing": incomplete, "error": failed}
	counts := make(map[string]int)
	var kind string // of the table, by its heading
	for line := range strings.Lines(string(text)) {
		cells, ok := tableRow(line)
		if !ok {
			kind = ""
			continue
		}
		if kind == "" {
			kind = cells[0] + "/" + cells[1]
			continue
		}
		if strings.HasPrefix(cells[0], "---") {
			continue
		}
		counts[kind]++
		example := strings.Trim(cells[0], "`")
		switch kind {
		case "pattern/subject":
			if got := subjectMatches(example, strings.Trim(cells[1], "`")); got != (cells[2] == "matches") {
				t.Errorf("%s: %v", line, got)
			}
		case "filter/result":
			want, ok := outcomes[cells[1]]
			if !ok {
				t.Fatalf("no such result: %s", line)
			}
			if got, err := compileFilter(t, example).run(&variables{event: ev}); got != want {
				t.Errorf("%s: %v (%v)", line, got, err)
			}
		case "filter/message":
			if err := checkFilter(example); err == nil || !strings.Contains(err.Error(), cells[1]) {
				t.Errorf("%s: %v", line, err)
			}
		case "name/type":
			compileFilter(t, "type("+example+") == type("+example+")")
		default:
			t.Errorf("a table of an unknown kind: %s", kind)
		}
	}
	for kind, least := range map[string]int{"pattern/subject": 5, "filter/result": 30, "filter/message": 5, "name/type": 6} {
		if counts[kind] < least {
			t.Errorf("%d rows of tables %s, want %d", counts[kind], kind, least)
		}
	}
}

// tableRow returns the cells of a line of a Markdown table.
func tableRow(line string) ([]string, bool) {
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, "|") {
		return nil, false
	}
	const bar = "\x00" // stands for one that is escaped
	line = strings.ReplaceAll(line, `\|`, bar)
	cells := strings.Split(strings.Trim(line, "|"), "|")
	for i, cell := range cells {
		cells[i] = strings.ReplaceAll(strings.TrimSpace(cell), bar, "|")
	}
	return cells, true
}

// guideEvent reads the event of the guide: lines of headers, an empty one, the
// body.
func guideEvent(t *testing.T, text string) *Event {
	t.Helper()
	_, block, _ := strings.Cut(text, "```text\n")
	block, _, _ = strings.Cut(block, "```")
	head, body, ok := strings.Cut(block, "\n\n")
	if !ok {
		t.Fatal("the guide has no event")
	}
	ev := &Event{ID: "msg_1", Header: make(map[string][]string), Data: []byte(body), Time: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)}
	for line := range strings.Lines(head) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if name == "subject" {
			ev.Subject = value
		} else {
			ev.Header[name] = []string{value}
		}
	}
	return ev
}
