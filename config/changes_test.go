package config

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"fanjet/internal/secret"
)

const changesHead = `version: 1
nats: {url: nats.example.com}
defaults: {secrets: [env:GOOD]}
`

func TestCompare(t *testing.T) {
	t.Parallel()
	before := mustLoad(t, write(t, changesHead+`
endpoints:
  same: {url: "https://a.example.com/", headers: {A: b}, circuit: {failures: 3}}
  slower: {url: "https://a.example.com/", timeout: 3s}
  gone: {url: "https://a.example.com/"}
subscriptions:
  - {name: one, subjects: [events.a], endpoints: [same, slower], filter: data.a > 1}
  - {name: two, subjects: [events.b], endpoints: [gone]}
  - {name: three, subjects: [events.c], endpoints: [same]}
`), Options{})
	after := mustLoad(t, write(t, changesHead+`
egress: {ports: [443, 8443]}
dead_letters: {max_age: 1d}
delivery: {direct: false}
endpoints:
  b-new: {url: "https://a.example.com/"}
  a-new: {url: "https://a.example.com/"}
  slower: {url: "https://a.example.com/", timeout: 4s}
  same: {url: "https://a.example.com/", headers: {A: b}, circuit: {failures: 3}}
subscriptions:
  - {name: three, subjects: [events.c], endpoints: [same]}
  - {name: one, subjects: [events.a], endpoints: [same, slower], filter: data.a > 2}
  - {name: four, subjects: [events.b], endpoints: [a-new, b-new]}
`), Options{})
	want := Changes{
		Endpoints:     Names{Added: []string{"a-new", "b-new"}, Removed: []string{"gone"}, Changed: []string{"slower"}},
		Subscriptions: Names{Added: []string{"four"}, Removed: []string{"two"}, Changed: []string{"one"}},
		Egress:        true,
		Restart:       []string{"delivery", "dead_letters"},
		Declared: Declared{
			Main:          after.Declared.Main,
			Endpoints:     map[string]string{"a-new": after.Declared.Main, "b-new": after.Declared.Main, "slower": after.Declared.Main, "gone": before.Declared.Main},
			Subscriptions: map[string]string{"four": after.Declared.Main, "one": after.Declared.Main, "two": before.Declared.Main},
		},
	}
	if got := Compare(before, after); !reflect.DeepEqual(got, want) || got.None() {
		t.Errorf("Compare = %+v, want %+v", got, want)
	}
	if got := Compare(after, after); !got.None() || got.Restart != nil {
		t.Errorf("Compare with itself = %+v", got)
	}
}

// What only differs in the order of declaration, or in comments, is no change.
func TestCompareOrder(t *testing.T) {
	t.Parallel()
	var files [2]string
	for i, order := range [][]string{{"a", "b"}, {"b", "a"}} {
		files[i] = changesHead + "endpoints: {e: {url: \"https://a.example.com/\"}}\nsubscriptions:\n"
		for _, name := range order {
			files[i] += fmt.Sprintf("  - {name: %s, subjects: [events.%s], endpoints: [e]} # %d\n", name, name, i)
		}
	}
	got := Compare(mustLoad(t, write(t, files[0]), Options{}), mustLoad(t, write(t, files[1]), Options{}))
	if !got.None() || len(got.Restart) > 0 {
		t.Errorf("Compare = %+v, want no changes", got)
	}
}

// Nor is another way to write the same URL.
func TestCompareEncodedURLs(t *testing.T) {
	t.Parallel()
	file := func(url string) string {
		return changesHead + "endpoints: {e: {url: \"" + url + "\"}}\nsubscriptions: [{name: s, subjects: [events.a], endpoints: [e]}]\n"
	}
	raw := mustLoad(t, write(t, file("https://bücher.example/käse?name=Müller&off=50%&q=a|b c")), Options{})
	encoded := mustLoad(t, write(t, file("https://xn--bcher-kva.example/k%C3%A4se?name=M%C3%BCller&off=50%25&q=a%7Cb%20c")), Options{})
	if got := Compare(raw, encoded); !got.None() {
		t.Errorf("Compare = %+v", got)
	}
	if uri := raw.Endpoints[0].URL.RequestURI(); uri != "/k%C3%A4se?name=M%C3%BCller&off=50%25&q=a%7Cb%20c" {
		t.Error(uri)
	}
	if got := Compare(raw, mustLoad(t, write(t, file("https://bücher.example/käse?off=50%&name=Müller&q=a|b c")), Options{})); got.None() {
		t.Error("another order of parameters is no change")
	}
}

// Every setting outside of endpoints, subscriptions and egress needs a restart;
// one that Compare forgets would be dropped in silence.
func TestCompareCoversEverySetting(t *testing.T) {
	t.Parallel()
	live := []string{"Egress", "Endpoints", "Subscriptions", "Filters", "Warnings", "SecretFiles", "Declared"}
	before := mustLoad(t, "testdata/good/minimal.yaml", Options{})
	count := 0
	var change func(v reflect.Value, path string, check func(path string))
	change = func(v reflect.Value, path string, check func(string)) {
		switch v.Kind() {
		case reflect.Struct:
			if _, ok := reflect.TypeAssert[secret.Value](v); ok {
				v.Set(reflect.ValueOf(secret.New("another")))
				break
			}
			for i := range v.NumField() {
				change(v.Field(i), path+"."+v.Type().Field(i).Name, check)
			}
			return
		case reflect.String:
			v.SetString(v.String() + "x")
		case reflect.Int, reflect.Int64:
			v.SetInt(v.Int() + 1)
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), v.Len()+1, v.Len()+1))
		default:
			t.Fatalf("%s: a setting of a kind that this test does not know: %s", path, v.Kind())
		}
		check(path)
	}
	after := *before
	v := reflect.ValueOf(&after).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if slices.Contains(live, name) {
			continue
		}
		change(v.Field(i), name, func(path string) {
			count++
			got := Compare(before, &after)
			if isLive := path == "Admin.Hosts" || path == "Admin.Tokens"; isLive != got.Admin || isLive == (len(got.Restart) == 1) {
				t.Errorf("%s changed: Compare names %v, want one key, and says that admin changes: %v", path, got.Restart, got.Admin)
			}
			after = *before
		})
	}
	if count < 10 {
		t.Errorf("only %d settings", count)
	}
}
