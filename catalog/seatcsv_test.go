package catalog

import (
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"onsale/internal/fault"
)

const seatTableDoc = "\ufeffSeat;Row;Section;Category;x;y\r\n" +
	"1;A;Stalls;Best;10,5;20\r\n" +
	"2;A;Stalls;Best;40.5;20\r\n" +
	"\"7 a\";;\"Box; left\";;-30;0\r\n"

func TestParseSeats(t *testing.T) {
	t.Parallel()
	p, notices, err := ParseSeats([]byte(seatTableDoc), "Hall")
	if err != nil || len(notices) > 0 {
		t.Fatal(err, notices)
	}
	if p.Name != "Hall" || p.Seats != 3 || len(p.Zones) != 2 || p.Zones[0].Name != "Stalls" || p.Zones[1].Name != "Box; left" || p.Zones[1].Rows[0].Name != "" {
		t.Errorf("the plan is %+v", p)
	}
	a, b, c := p.Zones[0].Rows[0].Seats[0], p.Zones[0].Rows[0].Seats[1], p.Zones[1].Rows[0].Seats[0]
	if a.Category != "Best" || c.Category != "Box; left" || c.Number != "7 a" || b.X-a.X != 30 || a.X-c.X != 40.5 || a.Y-c.Y != 20 {
		t.Errorf("the seats are %+v, %+v, %+v", a, b, c)
	}

	// Without coordinates, every seat has a place of its own.
	p, _, err = ParseSeats([]byte("section,row,seat\nA,1,1\nA,1,2\nA,2,1\nB,1,1\nA,1,3\n"), "")
	if err != nil {
		t.Fatal(err)
	}
	places := make(map[[2]float64]bool)
	for _, z := range p.Zones {
		for _, row := range z.Rows {
			for _, s := range row.Seats {
				places[[2]float64{s.X, s.Y}] = true
			}
		}
	}
	if p.Seats != 5 || len(places) != 5 || len(p.Zones[0].Rows[0].Seats) != 3 {
		t.Errorf("%d seats in %d places: %+v", p.Seats, len(places), p.Zones)
	}
}

func TestParseSeatsNamesEveryLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		doc  string
		want []string
	}{
		{"section,row,seat,x,y\nA,1,1,0,0\nA,1,1,5,5\n,1,2,0,0\nA,1,,0,0\nA,1,3,east,1e9\nA,1\nA,\"1\n\",9,0,0\n", []string{
			`line 3: section "A" row "1" seat "1" stands already in line 2: one seat would be sold twice`,
			"line 4: the section is missing",
			"line 5: the seat has no number, so its ticket would not say which seat it is",
			`line 6: the x "east" is not a number from -1000000 to 1000000`,
			`line 6: the y "1e9" is not a number from -1000000 to 1000000`,
			"line 7: has 2 columns instead of 5",
		}},
		{"section,place,row,row\n", []string{
			`line 1: the column "place" is not known; there are section, row, seat, category, x, y, attributes`,
			"line 1: the column row stands twice", "line 1: the column seat is missing",
		}},
		{"section,row,seat,x\nA,1,1,1\n", []string{"line 1: x and y belong together; one of them is missing"}},
		{"section,row,seat\n", []string{"line 1: there are no seats below the names of the columns"}},
		{"section,row,seat\nA,1,1\nA,\"1,2\n", []string{`line 3: is not CSV: extraneous or missing " in quoted-field; what follows was not read`}},
		{"section,row,seat\nA,1," + strings.Repeat("9", 201) + "\nA,1,\a\n", []string{
			"line 2: the seat is longer than 200 characters", "line 3: the seat contains a control character",
		}},
	} {
		_, _, err := ParseSeats([]byte(test.doc), "")
		if got := problemsOf(t, err); !slices.Equal(got, test.want) {
			t.Errorf("%q\ngot  %q\nwant %q", test.doc, got, test.want)
		}
	}
	if _, _, err := ParseSeats([]byte("section,row,seat\nM\xfcnchen,1,1\n"), ""); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("Latin-1: %v", err)
	}
}

// TestSeatsComeBackAsWritten draws tables of seats and writes them as spreadsheets
// do.
func TestSeatsComeBackAsWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[A-Za-z0-9Öé;,"'][A-Za-z0-9 ;,"'.]{0,6}[A-Za-z0-9"]`)
		seats := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) label {
			return label{word.Draw(t, "section"), rapid.OneOf(word, rapid.Just("")).Draw(t, "row"), word.Draw(t, "seat")}
		}), 1, 20, rapid.ID[label]).Draw(t, "seats")
		columns := rapid.Permutation(csvColumns[:4]).Draw(t, "columns")
		var b strings.Builder
		w := csv.NewWriter(&b)
		if rapid.Bool().Draw(t, "semicolons") {
			w.Comma = ';'
		}
		w.UseCRLF = rapid.Bool().Draw(t, "CRLF")
		if err := w.Write(columns); err != nil {
			t.Fatal(err)
		}
		for i, l := range seats {
			values := map[string]string{csvSection: l.section, csvRow: l.row, csvSeat: l.seat, csvCategory: fmt.Sprint("C", i%3)}
			record := make([]string, len(columns))
			for k, c := range columns {
				record[k] = values[c]
			}
			if err := w.Write(record); err != nil {
				t.Fatal(err)
			}
		}
		w.Flush()
		p, _, err := ParseSeats([]byte(b.String()), "Drawn")
		if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
		if p.Seats != len(seats) {
			t.Fatalf("%d seats of %d", p.Seats, len(seats))
		}
		for i, l := range seats {
			if category, ok := p.CategoryOf(l.section, l.row, l.seat); !ok || category != fmt.Sprint("C", i%3) {
				t.Fatalf("%+v has the category %q\n%s", l, category, b.String())
			}
		}
	})
}

// FuzzParseSeats feeds the parser anything. What it accepts is a plan like any other.
func FuzzParseSeats(f *testing.F) {
	f.Add([]byte(seatTableDoc))
	f.Add([]byte("section,row,seat\nA,1,1\nA,1,2\n"))
	f.Add([]byte("section,row,seat,x,y\nA,1,1,-0,1e6\n"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		p, _, err := ParseSeats(doc, "Fuzzed")
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("an error that is not fault.Invalid: %v", err)
			}
			return
		}
		e := minimalEvent()
		e.Plan = p
		for category := range p.used() {
			e.Prices = append(e.Prices, Price{Category: category, Name: "n"})
		}
		l, view, err := Compose(e, counter())
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("an error that is not fault.Invalid: %v", err)
			}
			return
		}
		checkLayout(t, l)
		checkView(t, l, view)
	})
}
