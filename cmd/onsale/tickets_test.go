package main

import (
	"context"
	"encoding/csv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// TestTicketsComeFromABoxOffice and go into the export, from the command line.
func TestTicketsComeFromABoxOffice(t *testing.T) {
	t.Parallel()
	environ := empty(t)
	dir := folderOf(t, map[string]string{
		"hall.json":    strings.NewReplacer(`"Hall", "position"`, `"Hall", "entrance": "Yard", "position"`, `"y": 0}`, `"y": 0}, "attributes": ["aisle"]`).Replace(hallPlan),
		"reading.yaml": strings.Replace(hallEvent, "currency:", "status: draft\ncurrency:", 1),
		"box.csv":      "section,row,seat,quantity,name,email,reference\nHall,1,1,,=Ada,ada@box.example,\nGallery,,,2,Zoe,,list\n",
		"again.csv":    "section,row,seat,quantity,name,email,reference\nHall,1,1,,Ada B,ada@box.example,\nHall,1,2,,Ben,,\n",
		"wrong.csv":    "section,row,seat,name\nHall,1,9,Ada\nHall,2,1,Ben\n",
	})
	id := imported(t, environ, filepath.Join(dir, "reading.yaml"))
	run := func(want int, args ...string) (string, string) {
		t.Helper()
		code, stdout, stderr := executeIn(t, environ, args...)
		if code != want {
			t.Fatalf("%v: %d\n%s%s", args, code, stdout, stderr)
		}
		return stdout, stderr
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	if out, _ := run(exitOK, "import", "tickets", id, file("box.csv"), "--dry-run"); out != "3 tickets in 2 orders would be brought in, 0 rows were there\n" {
		t.Errorf("dry run: %s", out)
	}
	if out, _ := run(exitOK, "import", "tickets", id, file("box.csv")); out != "3 tickets in 2 orders brought in, 0 rows were there\n" {
		t.Errorf("for real: %s", out)
	}
	out, said := run(exitOK, "import", "tickets", id, file("again.csv"))
	if out != "1 tickets in 1 orders brought in, 1 rows were there\n" || !strings.Contains(said, `note: line 2: the reference "Hall/1/1" is of =Ada`) {
		t.Errorf("again: %s%s", out, said)
	}
	if _, said = run(exitFailed, "import", "tickets", id, file("wrong.csv")); !strings.Contains(said, "line 2") || !strings.Contains(said, "line 3") {
		t.Errorf("wrong: %s", said)
	}
	run(exitUsage, "import", "tickets", id)
	run(exitFailed, "import", "tickets", "0190b0a0-8c3e-7a41-9d5e-3f1f6f1f0001", file("box.csv"))
	run(exitUsage, "export", "tickets", "reading")

	table, _ := run(exitOK, "export", "tickets", id)
	if lines := strings.Split(strings.TrimSpace(table), "\n"); len(lines) != 5 || !strings.HasPrefix(lines[0], "ticket,order,event") || !strings.Contains(table, ",'=Ada,") {
		t.Errorf("the export is\n%s", table)
	}
	// What the export says of seats may stay in a table that comes in again.
	cells, err := csv.NewReader(strings.NewReader(table)).ReadAll()
	if err != nil || !slices.Equal(cells[0][len(cells[0])-2:], []string{"attributes", "entrance"}) {
		t.Fatalf("%v: the columns are %v", err, cells[0])
	}
	again := "section,row,seat,name,email,attributes,entrance\n"
	for _, c := range cells[1:] {
		if seat := c[slices.Index(cells[0], "seat")]; seat != "" {
			again += strings.Join([]string{
				c[slices.Index(cells[0], "section")], c[slices.Index(cells[0], "row")], seat, strings.TrimPrefix(c[slices.Index(cells[0], "buyer_name")], "'"),
				c[slices.Index(cells[0], "buyer_email")], c[len(c)-2], c[len(c)-1],
			}, ",") + "\n"
		}
	}
	if !strings.Contains(again, ",aisle,Yard\n") {
		t.Errorf("the export says of seats\n%s", again)
	}
	if err := os.WriteFile(file("exported.csv"), []byte(again), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, said := run(exitOK, "import", "tickets", id, file("exported.csv")); out != "0 tickets in 0 orders brought in, 2 rows were there\n" || said != "" {
		t.Errorf("what was exported, again: %s%s", out, said)
	}
	run(exitOK, "export", "tickets", id, "-o", file("out.csv"))
	if written, err := os.ReadFile(file("out.csv")); err != nil || string(written) != table {
		t.Errorf("%v: %s", err, written)
	}

	// On sale, and while holds may last, it is for the server to do.
	db := open(t, environ)
	if _, err := db.Exec(t.Context(), `update events set status = 'on_sale'`); err != nil {
		t.Fatal(err)
	}
	if _, said = run(exitFailed, "import", "tickets", id, file("box.csv")); !strings.Contains(said, "is on sale") {
		t.Errorf("on sale: %s", said)
	}
	if _, err := db.Exec(t.Context(), `update events set status = 'postponed'`); err != nil {
		t.Fatal(err)
	}
	if _, said = run(exitFailed, "import", "tickets", id, file("box.csv")); !strings.Contains(said, "may still be on hold") {
		t.Errorf("postponed: %s", said)
	}
	if _, err := db.Exec(t.Context(), `update events set off_sale_at = now() - interval '1 day'`); err != nil {
		t.Fatal(err)
	}
	run(exitOK, "import", "tickets", id, file("box.csv"))
}

// open connects to the database of an environment.
func open(t *testing.T, environ []string) *pgx.Conn {
	t.Helper()
	for _, line := range environ {
		if url, ok := strings.CutPrefix(line, "ONSALE_DATABASE_URL="); ok {
			db, err := pgx.Connect(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close(context.Background()) })
			return db
		}
	}
	t.Fatal("there is no database")
	return nil
}
