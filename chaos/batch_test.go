package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"testing"

	"fanjet/internal/failpoint"
)

// batch runs cases beside each other, more than there are processors: they mostly
// wait for what a dead process held.
type batch struct {
	t      *testing.T
	places chan struct{}
	names  []string
	runs   sync.WaitGroup
}

func newBatch(t *testing.T) *batch { return &batch{t: t, places: make(chan struct{}, 8)} }

func (b *batch) run(name string, test func(t *testing.T)) {
	b.names = append(b.names, name)
	b.runs.Go(func() {
		b.places <- struct{}{}
		defer func() { <-b.places }()
		b.t.Run(name, test)
	})
}

func (b *batch) wait() { b.runs.Wait() }

// covered checks that every point that exists has a case.
func covered(t *testing.T, names []string) {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("..", "internal", "failpoint", "points.go"))
	if err != nil {
		t.Fatal(err)
	}
	points := regexp.MustCompile(`Point = "(.+)"`).FindAllStringSubmatch(string(source), -1)
	if len(points) < 20 {
		t.Errorf("only %d points are known", len(points))
	}
	for _, point := range points {
		if !slices.Contains(names, point[1]) {
			t.Errorf("no case kills at the point %q", point[1])
		}
	}
}

// arm is the environment of a process that kills itself at the n-th hit of a
// point.
func arm(point failpoint.Point, n int) string {
	return fmt.Sprintf("FANJET_FAILPOINT=%s:%d", point, n)
}
