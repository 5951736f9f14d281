package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"onsale/catalog"
	"onsale/internal/stack"
	"onsale/internal/stack/stacktest"
)

const hallPlan = `{"name": "Town hall", "size": {"width": 200, "height": 100}, "categories": [{"name": "A"}], "zones": [
  {"name": "Hall", "position": {"x": 50, "y": 50}, "rows": [{"row_number": "1", "mood": "good", "seats": [
    {"seat_number": "1", "seat_guid": "a", "position": {"x": 0, "y": 0}, "category": "A"},
    {"seat_number": "2", "seat_guid": "b", "position": {"x": 25, "y": 0}, "category": "A"}]}]}]}`

const hallEvent = `# Prices are in cents.
name: "Reading: 2027"
starts_at: 2027-03-28T19:00
timezone: Europe/Berlin
venue: {name: Town hall, city: Köln, country: DE}
artists: &people
  - Ada
  - Zoe
currency: EUR
plan: hall.json
prices:
  A: {amount: 1200, type: vip}
areas:
  - {name: Gallery, capacity: 30, price: 500}
room:
  rate_per_minute: 60
  message: null
`

// empty is a database without any table.
func empty(t *testing.T) []string {
	t.Helper()
	url := stacktest.Database(t, func(context.Context, string) error { return nil })
	return []string{"ONSALE_DATABASE_URL=" + url}
}

func folderOf(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestImport(t *testing.T) {
	t.Parallel()
	environ := empty(t)
	dir := folderOf(t, map[string]string{"hall.json": hallPlan, "reading.yaml": hallEvent})

	code, _, stderr := executeIn(t, environ, "migrate", "--check")
	if code != exitFailed || !strings.Contains(stderr, "migrations are pending") {
		t.Errorf("migrate --check on an empty database: %d, %s", code, stderr)
	}
	code, stdout, stderr := executeIn(t, environ, "import", "plan", filepath.Join(dir, "hall.json"))
	if code != exitOK || !strings.Contains(stdout, "Town hall: 2 seats in 1 sections and 1 rows") || !strings.Contains(stdout, "\nplan: ") {
		t.Fatalf("import plan: %d\n%s%s", code, stdout, stderr)
	}
	if !strings.Contains(stderr, `notice: $.zones[0].rows[0].mood: the key "mood" is not known`) {
		t.Errorf("the odd key is not named: %s", stderr)
	}
	if _, stdout, _ = executeIn(t, environ, "import", "plan", filepath.Join(dir, "hall.json")); !strings.Contains(stdout, "was there before") {
		t.Errorf("the second import says: %s", stdout)
	}
	code, stdout, stderr = executeIn(t, environ, "import", "event", filepath.Join(dir, "reading.yaml"))
	if code != exitOK || !strings.Contains(stdout, "Reading: 2027, Town hall, 2027-03-28T17:00:00Z: 32 tickets") || !strings.Contains(stdout, "\nevent: ") {
		t.Fatalf("import event: %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, stderr = executeIn(t, environ, "import", "event", filepath.Join(dir, "reading.yaml"))
	if code != exitOK || !strings.HasPrefix(stdout, "nothing is different\nevent: ") {
		t.Errorf("the same event again: %d, %s%s", code, stdout, stderr)
	}
	if code, stdout, stderr = executeIn(t, environ, "migrate", "--check"); code != exitOK || !strings.Contains(stdout, "up to date") {
		t.Errorf("migrate --check afterwards: %d, %s%s", code, stdout, stderr)
	}
}

// TestExamplesCanBeImported holds the documentation to its word.
func TestExamplesCanBeImported(t *testing.T) {
	t.Parallel()
	environ := empty(t)
	examples := filepath.Join("..", "..", "docs", "examples")
	code, stdout, stderr := executeIn(t, environ, "import", "event", filepath.Join(examples, "event.yaml"))
	if code != exitOK || !strings.Contains(stdout, "2027-06-19T17:30:00Z: 196 tickets") || strings.Contains(stderr, "notice") {
		t.Errorf("import event: %d\n%s%s", code, stdout, stderr)
	}
	if code, stdout, stderr = executeIn(t, environ, "import", "plan", filepath.Join(examples, "hall.plan.json")); code != exitOK ||
		!strings.Contains(stdout, "76 seats in 2 sections and 6 rows") || !strings.Contains(stdout, "was there before") {
		t.Errorf("import plan: %d\n%s%s", code, stdout, stderr)
	}
}

// TestATableOfSeatsIsAPlan imports the documentation's table, and puts it on sale.
func TestATableOfSeatsIsAPlan(t *testing.T) {
	t.Parallel()
	environ := empty(t)
	table, err := os.ReadFile(filepath.Join("..", "..", "docs", "examples", "cellar.csv"))
	if err != nil {
		t.Fatal(err)
	}
	dir := folderOf(t, map[string]string{
		"cellar.csv": string(table), "bad.csv": "section;row;seat\nA;1;1\nB;1;1\nA;1;1\n",
		"jazz.yaml": "name: Jazz\nstarts_at: 2027-05-01T20:00:00Z\nvenue: {name: Cellar}\ncurrency: EUR\nplan: cellar.csv\n" +
			"prices:\n  Table: {amount: 2000}\n  Bar stool: {amount: 1000}\n",
	})
	code, stdout, stderr := executeIn(t, environ, "import", "plan", filepath.Join(dir, "cellar.csv"))
	if code != exitOK || !strings.Contains(stdout, "cellar: 7 seats in 2 sections and 3 rows") || strings.Contains(stderr, "notice") {
		t.Fatalf("import plan: %d\n%s%s", code, stdout, stderr)
	}
	if code, stdout, stderr = executeIn(t, environ, "import", "event", filepath.Join(dir, "jazz.yaml")); code != exitOK || !strings.Contains(stdout, "7 tickets") {
		t.Errorf("import event: %d\n%s%s", code, stdout, stderr)
	}
	if _, stdout, _ = executeIn(t, environ, "import", "event", filepath.Join(dir, "jazz.yaml")); !strings.HasPrefix(stdout, "nothing is different") {
		t.Errorf("again: %s", stdout)
	}
	code, _, stderr = executeIn(t, environ, "import", "plan", filepath.Join(dir, "bad.csv"))
	if code != exitFailed || !strings.Contains(stderr, `line 4: section "A" row "1" seat "1" stands already in line 2`) {
		t.Errorf("a seat twice: %d %s", code, stderr)
	}
}

func TestImportDemo(t *testing.T) {
	t.Parallel()
	environ := empty(t)
	for _, want := range []string{"7 created, 0 were there", "0 created, 7 were there"} {
		code, stdout, stderr := executeIn(t, environ, "import", "demo")
		if code != exitOK || !strings.Contains(stdout, want) {
			t.Errorf("import demo: %d, want %q\n%s%s", code, want, stdout, stderr)
		}
	}
}

func TestImportNamesProblems(t *testing.T) {
	t.Parallel()
	dir := folderOf(t, map[string]string{
		"broken.json":    "{\n  nope",
		"twice.json":     strings.Replace(hallPlan, `"seat_number": "2"`, `"seat_number": "1"`, 1),
		"typo.yaml":      strings.Replace(hallEvent, "currency", "curency", 1),
		"noplan.yaml":    strings.Replace(hallEvent, "hall.json", "twice.json", 1),
		"indent.yaml":    "a: b\n  c: d",
		"two.yaml":       hallEvent + "---\n" + hallEvent,
		"bomb.yaml":      "a: &a [x,x,x,x,x,x,x,x,x]\n" + yamlBomb(),
		"duplicate.yaml": hallEvent + "name: again\n",
	})
	for file, want := range map[string]string{
		"plan broken.json":     "line 2, column 3",
		"plan twice.json":      "one seat would be sold twice",
		"plan missing.json":    "no such file",
		"event typo.yaml":      `the key "curency" is not known`,
		"event noplan.yaml":    "one seat would be sold twice",
		"event indent.yaml":    "not valid YAML",
		"event two.yaml":       "one YAML document",
		"event bomb.yaml":      "too large or too deep",
		"event duplicate.yaml": "stands twice",
	} {
		kind, name, _ := strings.Cut(file, " ")
		// The database is not asked for what cannot be read.
		environ := []string{"ONSALE_DATABASE_URL=postgres://nobody@127.0.0.1:1/none"}
		code, _, stderr := executeIn(t, environ, "import", kind, filepath.Join(dir, name))
		if code != exitFailed || !strings.Contains(stderr, want) {
			t.Errorf("import %s: %d, want %q: %s", file, code, want, stderr)
		}
	}
	if code, _, stderr := execute(t, "import", "plan"); code != exitUsage || !strings.Contains(stderr, "one file is expected") {
		t.Errorf("import plan without a file: %d, %s", code, stderr)
	}
	if code, _, stderr := execute(t, "import", "planet"); code != exitUsage {
		t.Errorf("import planet: %d, %s", code, stderr)
	}
}

// yamlBomb multiplies by ten with every line.
func yamlBomb() string {
	var b strings.Builder
	for c := 'b'; c < 'k'; c++ {
		p := string(c - 1)
		b.WriteString(string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+p+",", 9) + "*" + p + "]\n")
	}
	return b.String()
}

// TestImportBesideARunningProgram imports into the embedded database while
// another process has it, and while none does.
func TestImportBesideARunningProgram(t *testing.T) {
	t.Parallel()
	stacktest.Postgres(t) // skips where there is none
	data := t.TempDir()
	plan := filepath.Join(folderOf(t, map[string]string{"hall.json": hallPlan}), "hall.json")
	code, stdout, stderr := execute(t, "import", "plan", "--data-dir", data, plan)
	if code != exitOK || !strings.Contains(stdout, "imported in") {
		t.Fatalf("with nothing running: %d\n%s%s", code, stdout, stderr)
	}
	servers, err := stack.Start(t.Context(), stack.Options{Dir: data, SkipRedis: true})
	if err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr = execute(t, "import", "plan", "--data-dir", data, plan)
	if code != exitOK || !strings.Contains(stdout, "was there before") {
		t.Errorf("beside a running program: %d\n%s%s", code, stdout, stderr)
	}
	if err := stopEmbedded(servers); err != nil {
		t.Fatal(err)
	}
	if _, err := stack.RunningPostgres(data); err == nil {
		t.Error("a stopped database is found running")
	}
}

func TestYAMLIsTheSameDocument(t *testing.T) {
	t.Parallel()
	const doc = "a: 1\nb: [true, null, ~, 1.5, 0x10, \"1\", '2', 2027-01-01, yes, text]\nc:\n  'k y': |\n    two\n    lines\nd: &x {e: f}\ng: *x\n"
	got, err := toJSON([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"a":1,"b":[true,null,null,1.5,16,"1","2","2027-01-01","yes","text"],"c":{"k y":"two\nlines\n"},"d":{"e":"f"},"g":{"e":"f"}}`
	var a, b any
	if err := json.Unmarshal(got, &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("got %s\nwant %s", got, want)
	}
	for _, bad := range []string{"", "a: .inf", "? [x]\n: y", "a: *nothing", "\t"} {
		if out, err := toJSON([]byte(bad)); err == nil {
			t.Errorf("%q became %s", bad, out)
		}
	}
}

func FuzzEventFile(f *testing.F) {
	f.Add([]byte(hallEvent))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		out, err := toJSON(doc)
		if err != nil {
			return
		}
		_, _, _ = catalog.ParseEvent(out)
	})
}
