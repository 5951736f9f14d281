package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestImportAgainChangesTheEvent goes the way of an organiser: out, edited, in.
func TestImportAgainChangesTheEvent(t *testing.T) {
	t.Parallel()
	environ := empty(t)
	dir := folderOf(t, map[string]string{"hall.json": hallPlan, "reading.yaml": strings.Replace(hallEvent, "currency:", "status: draft\ncurrency:", 1)})
	id := imported(t, environ, filepath.Join(dir, "reading.yaml"))
	file := filepath.Join(dir, "again.yaml")
	export := func() string {
		t.Helper()
		code, stdout, stderr := executeIn(t, environ, "export", "event", id)
		if code != exitOK {
			t.Fatalf("export: %d %s", code, stderr)
		}
		return stdout
	}
	again := func(doc string, args ...string) (int, string, string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
		return executeIn(t, environ, append([]string{"import", "event", file}, args...)...)
	}

	before := export()
	code, stdout, stderr := again(before)
	if code != exitOK || stdout != "nothing is different\nevent: "+id+"\n" {
		t.Fatalf("as it is: %d %s%s", code, stdout, stderr)
	}
	edited := strings.NewReplacer("'Reading: 2027'", "Reading", "T19:00:00", "T20:30:00", "[Ada, Zoe]", "[Zoe]",
		"name: A,", "name: Best,", "amount: 1200", "amount: 1500", "price: 500", "price: 600").Replace(before)
	want := `name: "Reading: 2027" -> "Reading"
starts_at: "2027-03-28T19:00:00+02:00" -> "2027-03-28T20:30:00+02:00"
artists: ["Ada","Zoe"] -> ["Zoe"]
prices.A.name: "A" -> "Best"
prices.A.amount: 1200 -> 1500
areas[0].price: 500 -> 600
`
	code, stdout, stderr = again(edited, "--dry-run")
	if code != exitOK || stdout != want+"would be changed\nevent: "+id+"\n" {
		t.Fatalf("dry run: %d\n%s%s", code, stdout, stderr)
	}
	if got := export(); got != before {
		t.Fatalf("the dry run changed it:\n%s", got)
	}
	code, stdout, stderr = again(edited)
	if code != exitOK || stdout != want+"changed\nevent: "+id+"\n" || !strings.Contains(stderr, "note: room: stays") {
		t.Fatalf("for real: %d\n%s%s", code, stdout, stderr)
	}
	if got := export(); got != edited {
		t.Fatalf("edited\n%s\nexported\n%s", edited, got)
	}

	// Every place that cannot change is named, and nothing is done.
	refused := strings.NewReplacer("name: Reading\n", "name: Other\n", "currency: EUR", "currency: USD", "capacity: 30", "capacity: 31", "type: vip", "type: balcony").Replace(edited)
	code, stdout, stderr = again(refused)
	for _, place := range []string{"$.currency: is EUR", "$.areas[0].capacity: is 30; places cannot be added", "$.prices.A.type: is vip"} {
		if !strings.Contains(stderr, place) {
			t.Errorf("%q is not named: %s", place, stderr)
		}
	}
	if code != exitFailed || stdout != "" || export() != edited {
		t.Errorf("refused: %d %s, now\n%s", code, stdout, export())
	}

	if code, stdout, stderr = again(strings.Replace(edited, "status: draft", "status: on_sale", 1)); code != exitOK || !strings.Contains(stdout, `status: "draft" -> "on_sale"`) {
		t.Fatalf("to the sale: %d %s%s", code, stdout, stderr)
	}
	dearer := strings.NewReplacer("status: draft\n", "", "amount: 1500", "amount: 1501").Replace(edited)
	if code, _, stderr = again(dearer); code != exitFailed || !strings.Contains(stderr, "prices cannot change while the event is on sale") {
		t.Errorf("a price on sale: %d %s", code, stderr)
	}
	if code, _, stderr = again(strings.Replace(before, id, "01980000-0000-7000-8000-000000000000", 1)); code != exitFailed || !strings.Contains(stderr, "$.id: there is no event") {
		t.Errorf("an unknown id: %d %s", code, stderr)
	}
	fresh := strings.NewReplacer("id: "+id+"\n", "", "'Reading: 2027'", "Fresh").Replace(before)
	if code, stdout, stderr = again(fresh, "--dry-run"); code != exitOK || stdout != "Fresh is not there yet and would be created, with 32 tickets\n" {
		t.Errorf("a new one, dry: %d %s%s", code, stdout, stderr)
	}
}
