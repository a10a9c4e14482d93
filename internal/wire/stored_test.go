package wire

import (
	"errors"
	"fmt"
	"testing"
)

// The number is stored in users' streams: neither its place nor its form can change.
func TestStoredMetadata(t *testing.T) {
	t.Parallel()
	if got := fmt.Sprint(StoredMetadata(1)); got != "map[fanjet.version:1]" {
		t.Errorf("metadata %s", got)
	}
	if StoredWritten > StoredRead {
		t.Errorf("version %d is written, and only %d can be read", StoredWritten, StoredRead)
	}
}

func TestCheckStored(t *testing.T) {
	t.Parallel()
	for _, metadata := range []map[string]string{
		nil, {"owner": "ann", "_nats.ver": "2.15.3"}, StoredMetadata(1), StoredMetadata(StoredRead),
	} {
		if err := CheckStored("S", metadata); err != nil || StoredVersion(metadata) < 1 {
			t.Errorf("%v: version %d, %v", metadata, StoredVersion(metadata), err)
		}
	}
	const unread = "stream S: a newer Fanjet stored version %s there (fanjet.version), and this one reads versions up to 1; " +
		"fix: run the newer Fanjet again, or go back to a copy of the store from before the upgrade"
	for version, text := range map[string]string{"2": "2", "99": "99", "0": "0", "-1": "-1", "": `""`, "1.5": `"1.5"`, "x\ny": `"x\ny"`} {
		err := CheckStored("S", map[string]string{"fanjet.version": version})
		if newer, ok := errors.AsType[*NewerError](err); !ok || newer.Version != version || err.Error() != fmt.Sprintf(unread, text) {
			t.Errorf("version %q: %v", version, err)
		}
	}
}

func TestNewerErrorJoin(t *testing.T) {
	t.Parallel()
	var all *NewerError
	for _, stream := range []string{"A", "B"} {
		all = all.Join(&NewerError{Streams: []string{stream}, Version: "2"})
	}
	if got := all.Error(); got != "streams A, B: a newer Fanjet stored version 2 there (fanjet.version), and this one reads versions up to 1; "+
		"fix: run the newer Fanjet again, or go back to a copy of the store from before the upgrade" {
		t.Error(got)
	}
}
