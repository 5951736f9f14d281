package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var eventLine = regexp.MustCompile(`(?m)^event: (\S+)$`)

// imported imports a file and returns the event's id.
func imported(t *testing.T, environ []string, path string) string {
	t.Helper()
	code, stdout, stderr := executeIn(t, environ, "import", "event", path)
	id := eventLine.FindStringSubmatch(stdout)
	if code != exitOK || id == nil {
		t.Fatalf("import event: %d\n%s%s", code, stdout, stderr)
	}
	return id[1]
}

func TestExport(t *testing.T) {
	t.Parallel()
	environ := empty(t)
	dir := folderOf(t, map[string]string{"hall.json": hallPlan, "reading.yaml": hallEvent})
	id := imported(t, environ, filepath.Join(dir, "reading.yaml"))

	code, stdout, stderr := executeIn(t, environ, "export", "event", id)
	if code != exitOK {
		t.Fatalf("export event: %d %s", code, stderr)
	}
	for _, want := range []string{
		"id: " + id + "\n", "name: 'Reading: 2027'\n", "starts_at: \"2027-03-28T19:00:00+02:00\"\n", "artists: [Ada, Zoe]\n",
		"  A: {amount: 1200, name: A, type: vip}\n", "  - {name: Gallery, capacity: 30, price: 500, type: standing}\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is not in\n%s", want, stdout)
		}
	}

	// Elsewhere, under its own id, it is unknown; without an id it is created.
	out, elsewhere := filepath.Join(dir, "out.yaml"), empty(t)
	if code, stdout, stderr = executeIn(t, environ, "export", "event", id, "--plan", "-o", out); code != exitOK || stdout != "" {
		t.Fatalf("export event --plan -o: %d %s%s", code, stdout, stderr)
	}
	doc, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "copy.yaml")
	if err := os.WriteFile(copied, []byte(strings.Replace(string(doc), "id: "+id+"\n", "", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	other := imported(t, elsewhere, copied)
	_, first, _ := executeIn(t, environ, "export", "event", id, "--plan", "--format", "json")
	_, second, _ := executeIn(t, elsewhere, "export", "event", other, "--plan", "--format=json")
	if !json.Valid([]byte(first)) || first != strings.Replace(second, other, id, 1) {
		t.Errorf("exported\n%s\nimported elsewhere\n%s", first, second)
	}

	for _, test := range []struct {
		args   []string
		code   int
		stderr string
	}{
		{[]string{"export", "event"}, exitUsage, "one event's id is expected"},
		{[]string{"export", "event", id, "--format", "xml"}, exitUsage, `--format is "xml"`},
		{[]string{"export", "event", "7"}, exitFailed, "there is no event with the id"},
		{[]string{"export", "event", other}, exitFailed, "there is no event with the id"},
		{[]string{"export", "event", id, "-o", filepath.Join(dir, "no", "where.yaml")}, exitFailed, "no such file"},
	} {
		if code, _, stderr := executeIn(t, environ, test.args...); code != test.code || !strings.Contains(stderr, test.stderr) {
			t.Errorf("%q: %d, %s", test.args, code, stderr)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".onsale-*")); len(left) > 0 {
		t.Errorf("files are left: %v", left)
	}
}

// TestYAMLSaysWhatJSONSays draws documents with whatever text people write.
func TestYAMLSaysWhatJSONSays(t *testing.T) {
	t.Parallel()
	scalar := rapid.OneOf(
		rapid.Map(rapid.String(), func(s string) any { return s }),
		rapid.Map(rapid.SampledFrom([]string{"yes", "~", "1", "0x1f", "2027-01-01", "<<", "a\n b\n", " a", "\n", "\ufeff", "\ufffe", "\u0085", "\u2028"}), func(s string) any { return s }),
		rapid.Map(rapid.Float64Range(-1e6, 1e6), func(f float64) any { return f }),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Just[any](nil),
	)
	rapid.Check(t, func(t *rapid.T) {
		want := map[string]any{
			"map":  rapid.MapOf(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "<<", "1", "null", "? a"})), scalar).Draw(t, "map"),
			"list": rapid.SliceOfN(scalar, 0, 10).Draw(t, "list"),
			"deep": []any{map[string]any{"a": rapid.SliceOfN(scalar, 1, 3).Draw(t, "deep")}},
		}
		doc, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		text, err := toYAML(doc)
		if err != nil {
			t.Fatal(err)
		}
		back, err := toJSON(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		var a, b any
		if err := json.Unmarshal(doc, &a); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(back, &b); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("JSON %s\nYAML %s\nback %s", doc, text, back)
		}
	})
}
