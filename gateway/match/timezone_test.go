package match

import (
	"strings"
	"testing"
)

// A time zone that nobody knows is found when the filter is loaded, whatever the
// function.
func TestTimeZones(t *testing.T) {
	t.Parallel()
	for function := range inZone {
		for zone, known := range map[string]bool{
			"Europe/Lisbon": true, "America/Argentina/Buenos_Aires": true, "UTC": true, "": true, "+02:00": true, "-09:30": true, "02:00": true,
			"Mars/Base": false, "europe/lisbon ": false, "Local": false, "+2h": false, "../etc/passwd": false, "+25:00": false,
		} {
			filter := "subject == 'a' &&\n  time." + function + "('" + zone + "') >= 0"
			err := checkFilter(filter)
			if (err == nil) != known {
				t.Errorf("%s: %v", filter, err)
			}
			if err != nil && (!strings.HasPrefix(err.Error(), "line 2, column ") || !strings.Contains(err.Error(), zone)) {
				t.Errorf("%s: %v", filter, err)
			}
		}
	}
}
