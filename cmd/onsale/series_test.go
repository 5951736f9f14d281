package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const weeklyEvent = `name: Reading
starts_at: 2027-03-19T19:00
doors_at: 2027-03-19T18:30
repeat: FREQ=WEEKLY;BYDAY=FR;COUNT=4
except: [2027-03-26]
timezone: Europe/Berlin
venue: {name: Town hall, city: Köln, country: DE}
currency: EUR
plan: hall.json
prices:
  A: {amount: 1200}
`

// TestImportOfASeries goes the way of an organiser: in, out, edited, in.
func TestImportOfASeries(t *testing.T) {
	t.Parallel()
	environ := empty(t)
	dir := folderOf(t, map[string]string{"hall.json": hallPlan, "weekly.yaml": weeklyEvent})
	ids := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)
	run := func(want string, args ...string) (stdout, stderr string) {
		t.Helper()
		code, stdout, stderr := executeIn(t, environ, args...)
		anonymous := regexp.MustCompile(`in \d+\.\d s`).ReplaceAllString(ids.ReplaceAllString(stdout, "ID"), "in a moment")
		if code != exitOK || want != "" && anonymous != want {
			t.Fatalf("%v: %d\n%s%s\nwant\n%s", args, code, anonymous, stderr, want)
		}
		return stdout, stderr
	}
	file := filepath.Join(dir, "weekly.yaml")
	run(`Fri 2027-03-19 19:00 CET  would be created, with 2 tickets
Fri 2027-04-02 19:00 CEST  would be created, with 2 tickets
Fri 2027-04-09 19:00 CEST  would be created, with 2 tickets
Reading: 3 dates would be created, 0 would be changed, 0 as they were, in a moment
series: a new one
`, "import", "event", file, "--dry-run")
	made, _ := run(`Fri 2027-03-19 19:00 CET  ID created, with 2 tickets
Fri 2027-04-02 19:00 CEST  ID created, with 2 tickets
Fri 2027-04-09 19:00 CEST  ID created, with 2 tickets
Reading: 3 dates created, 0 changed, 0 as they were, in a moment
series: ID
`, "import", "event", file)
	run(`Fri 2027-03-19 19:00 CET  ID is the same
Fri 2027-04-02 19:00 CEST  ID is the same
Fri 2027-04-09 19:00 CEST  ID is the same
Reading: 0 dates created, 0 changed, 3 as they were, in a moment
series: ID
`, "import", "event", file)

	all := ids.FindAllString(made, -1)
	series := all[len(all)-1]
	written, _ := run("", "export", "series", series)
	edited := strings.NewReplacer("2027-04-02T19:00:00+02:00", "2027-04-03T19:00:00+02:00", "2027-04-02T18:30:00+02:00", "2027-04-03T18:30:00+02:00").Replace(written)
	last := strings.Index(edited, "  - id: "+all[2])
	if last < 0 {
		last = strings.Index(edited, "  - {id: "+all[2])
	}
	if last < 0 {
		t.Fatalf("written as\n%s", written)
	}
	end := strings.Index(edited[last:], "timezone:") + last
	if err := os.WriteFile(file, []byte(edited[:last]+edited[end:]), 0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr := run(`Fri 2027-03-19 19:00 CET  ID is the same
Sat 2027-04-03 19:00 CEST  ID changed
  starts_at: "2027-04-02T19:00:00+02:00" -> "2027-04-03T19:00:00+02:00"
  doors_at: "2027-04-02T18:30:00+02:00" -> "2027-04-03T18:30:00+02:00"
Reading: 0 dates created, 1 changed, 1 as they were, in a moment
series: ID
`, "import", "event", file)
	if !strings.Contains(stderr, "2027-04-09T19:00:00+02:00 ("+all[2]+") is not in the document and stays") {
		t.Errorf("the date that is left out: %s", stderr)
	}
	// One of them is still an event like others.
	one, _ := run("", "export", "event", all[1])
	if !strings.Contains(one, "starts_at: 2027-04-03T19:00:00+02:00") && !strings.Contains(one, `starts_at: "2027-04-03T19:00:00+02:00"`) || strings.Contains(one, "dates:") {
		t.Errorf("one of them is written as\n%s", one)
	}
	if code, _, stderr := executeIn(t, environ, "export", "series", all[0]); code != exitFailed || !strings.Contains(stderr, "no series") {
		t.Errorf("an event's id: %d %s", code, stderr)
	}
	bad := strings.Replace(weeklyEvent, "WEEKLY", "HOURLY", 1)
	if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := executeIn(t, environ, "import", "event", file); code != exitFailed || !strings.Contains(stderr, "$.repeat: FREQ must be DAILY") {
		t.Errorf("an hourly rule: %d %s", code, stderr)
	}
}
