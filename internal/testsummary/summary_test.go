package main

import (
	"strings"
	"testing"
)

func TestSummarize(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		events string
		want   string
		ok     bool
	}{
		{
			name: "what passing tests say is left out",
			events: `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: chatter\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}
`,
			want: "ok  \tp\t0.1s\n1 passed, 0 failed\n",
			ok:   true,
		},
		{
			name: "a failed test is shown whole and its package not counted",
			events: `{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"not me\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    wrong\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"skip","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p","Test":"TestC"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}
`,
			want: "=== RUN   TestA\n    wrong\nFAIL\tp\t0.1s\n1 passed, 1 failed, 1 skipped\n",
		},
		{
			name: "a package that does not build counts as one failure",
			events: `{"ImportPath":"p","Action":"build-output","Output":"p/a.go:1:1: expected 'package'\n"}
{"ImportPath":"p","Action":"build-fail"}
{"Action":"output","Package":"p","Output":"FAIL\tp [build failed]\n"}
{"Action":"fail","Package":"p"}
{"Action":"pass","Package":"q","Test":"TestA"}
`,
			want: "p/a.go:1:1: expected 'package'\nFAIL\tp [build failed]\n1 passed, 1 failed\n",
		},
		{
			name: "a test that took its process down is shown",
			events: `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"panic: boom\n"}
{"Action":"fail","Package":"p"}
`,
			want: "panic: boom\n0 passed, 1 failed\n",
		},
		{
			name:   "lines of the go command pass through",
			events: "go: downloading example.com/m v1.0.0\n{\"Action\":\"pass\",\"Package\":\"p\",\"Test\":\"TestA\"}",
			want:   "go: downloading example.com/m v1.0.0\n1 passed, 0 failed\n",
			ok:     true,
		},
		{
			name:   "packages without tests are not mentioned, and no test at all is no success",
			events: `{"Action":"output","Package":"p","Output":"?   \tp\t[no test files]\n"}` + "\n",
			want:   "0 passed, 0 failed\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			got, err := summarize(strings.NewReader(tt.events), &out)
			if err != nil {
				t.Fatal(err)
			}
			if out.String() != tt.want {
				t.Errorf("output:\n%s\nwant:\n%s", out.String(), tt.want)
			}
			if got.ok() != tt.ok {
				t.Errorf("ok() = %v, want %v", got.ok(), tt.ok)
			}
		})
	}
}
