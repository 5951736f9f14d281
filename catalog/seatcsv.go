package catalog

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"onsale/internal/fault"
)

// Columns of a table of seats.
const (
	csvSection  = "section"
	csvRow      = "row"
	csvSeat     = "seat"
	csvCategory = "category"
	csvX        = "x"
	csvY        = "y"
	csvMarks    = "attributes"
)

var csvColumns = []string{csvSection, csvRow, csvSeat, csvCategory, csvX, csvY, csvMarks}

// Distances of seats that are laid out without being told where, in plan pixels.
const (
	csvSeatGap    = 28
	csvRowGap     = 32
	csvSectionGap = 60
)

// ParseSeats reads a seating plan from a table of seats, CSV with "," or ";"
// between the columns that its first line names, in any order: section, row, seat,
// and perhaps category (else the section is it), attributes (words with a space
// between them) and both x and y. Without these,
// sections stand behind each other in the order of the file, and so do their rows.
// All problems are reported at once, in the member "problems" of a fault.Invalid,
// each with its line.
func ParseSeats(doc []byte, name string) (*Plan, []Notice, error) {
	const what = "the table of seats"
	if len(doc) > mostDocumentBytes {
		return nil, nil, fault.New(fault.TooLarge, "%s is larger than %d MB", what, mostDocumentBytes>>20)
	}
	doc = bytes.TrimPrefix(doc, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(doc) {
		return nil, nil, fault.New(fault.Invalid, "%s is not UTF-8 text; save it as UTF-8", what)
	}
	t := seatTable{seen: make(map[label]int), plan: newGenerator(name), sections: make(map[string]*tableSection)}
	if err := t.read(doc); err != nil {
		return nil, nil, err
	}
	if t.seats == 0 && t.found == 0 {
		t.linef(1, "there are no seats below the names of the columns")
	}
	if err := t.err(what); err != nil {
		return nil, nil, err
	}
	t.layOut()
	plan, notices, err := ParsePlan(t.plan.document())
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", what, err)
	}
	return plan, notices, nil
}

type seatTable struct {
	review

	column   map[string]int
	placed   bool // by x and y
	seats    int
	seen     map[label]int // line of the seat
	plan     *generator
	sections map[string]*tableSection
	order    []*tableSection
}

type tableSection struct {
	name string
	rows []*tableRow
	row  map[string]*tableRow
}

type tableRow struct {
	name  string
	seats []tableSeat
}

type tableSeat struct {
	number, category string
	x, y             float64
	attributes       Attributes
}

// linef is a problem of a line of the file.
func (t *seatTable) linef(line int, format string, args ...any) {
	t.found++
	if len(t.problems) < mostProblems {
		t.problems = append(t.problems, Problem{"line " + strconv.Itoa(line), fmt.Sprintf(format, args...)})
	}
}

func (t *seatTable) read(doc []byte) error {
	first, _, _ := bytes.Cut(doc, []byte("\n"))
	r := csv.NewReader(bytes.NewReader(doc))
	r.ReuseRecord, r.FieldsPerRecord, r.TrimLeadingSpace = true, -1, true
	if bytes.Count(first, []byte(";")) > bytes.Count(first, []byte(",")) {
		r.Comma = ';'
	}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			line := 0
			if e, ok := errors.AsType[*csv.ParseError](err); ok {
				line, err = e.Line, e.Err
			}
			t.linef(line, "is not CSV: %s; what follows was not read", err)
			return nil
		}
		line, _ := r.FieldPos(0)
		if t.column == nil {
			if !t.header(line, record) {
				return nil
			}
			continue
		}
		if t.seats++; t.seats > mostSeats {
			return fault.New(fault.Invalid, "the table of seats has more than %d seats", mostSeats)
		}
		t.seat(line, record)
	}
}

func (t *seatTable) header(line int, record []string) bool {
	t.column = make(map[string]int)
	for i, name := range record {
		name = strings.ToLower(strings.TrimSpace(name))
		switch _, twice := t.column[name]; {
		case !slices.Contains(csvColumns, name):
			t.linef(line, "the column %q is not known; there are %s", clip(name), strings.Join(csvColumns, ", "))
		case twice:
			t.linef(line, "the column %s stands twice", name)
		default:
			t.column[name] = i
		}
	}
	for _, name := range []string{csvSection, csvRow, csvSeat} {
		if _, ok := t.column[name]; !ok {
			t.linef(line, "the column %s is missing", name)
		}
	}
	_, x := t.column[csvX]
	_, y := t.column[csvY]
	if t.placed = x && y; x != y {
		t.linef(line, "x and y belong together; one of them is missing")
	}
	return t.found == 0
}

func (t *seatTable) seat(line int, record []string) {
	if len(record) != len(t.column) {
		t.linef(line, "has %d columns instead of %d", len(record), len(t.column))
		return
	}
	before := t.found
	text := func(name string) string {
		i, ok := t.column[name]
		if !ok {
			return ""
		}
		v := strings.TrimSpace(record[i])
		switch {
		case utf8.RuneCountInString(v) > mostText:
			t.linef(line, "the %s is longer than %d characters", name, mostText)
		case hasControl(v) || strings.ContainsFunc(v, func(c rune) bool { return c >= 0x80 && c < 0xa0 }):
			t.linef(line, "the %s contains a control character", name)
		}
		return v
	}
	number := func(name string) float64 {
		v := strings.TrimSpace(record[t.column[name]])
		n, err := strconv.ParseFloat(strings.Replace(v, ",", ".", 1), 64)
		if err != nil || !(n >= -mostPixels && n <= mostPixels) {
			t.linef(line, "the %s %q is not a number from -%d to %d", name, clip(v), int(mostPixels), int(mostPixels))
		}
		return n
	}
	l := label{text(csvSection), text(csvRow), text(csvSeat)}
	s := tableSeat{number: l.seat, category: text(csvCategory)}
	if s.category == "" {
		s.category = l.section
	}
	for word := range strings.FieldsSeq(text(csvMarks)) {
		one, ok := ParseAttribute(word)
		if !ok {
			t.linef(line, "the attribute %q is not known; there are %s, with a space between them", clip(word), AttributeList())
		}
		s.attributes |= one
	}
	if t.placed {
		s.x, s.y = number(csvX), number(csvY)
	}
	if l.section == "" {
		t.linef(line, "the section is missing")
	}
	if l.seat == "" {
		t.linef(line, "the seat has no number, so its ticket would not say which seat it is")
	}
	if first, twice := t.seen[l]; twice {
		t.linef(line, "section %q row %q seat %q stands already in line %d: one seat would be sold twice", l.section, l.row, l.seat, first)
	} else if t.found == before {
		t.seen[l] = line
		t.add(l, s)
	}
}

func (t *seatTable) add(l label, s tableSeat) {
	section := t.sections[l.section]
	if section == nil {
		section = &tableSection{name: l.section, row: make(map[string]*tableRow)}
		t.sections[l.section], t.order = section, append(t.order, section)
		if len(t.order) == mostZones+1 {
			t.linef(t.seen[l], "there are more than %d sections", mostZones)
		}
	}
	row := section.row[l.row]
	if row == nil {
		row = &tableRow{name: l.row}
		section.row[l.row], section.rows = row, append(section.rows, row)
	}
	row.seats = append(row.seats, s)
}

// layOut puts the seats into the plan: where they are told to be, or in rows that
// are centred below a stage.
func (t *seatTable) layOut() {
	y, widest := 160.0, 0
	guid := 0
	for _, section := range t.order {
		top := y
		if t.placed {
			top = 0
		}
		z := t.plan.zone(section.name, 0, top)
		for i, row := range section.rows {
			line := z.row(row.name)
			widest = max(widest, len(row.seats))
			for k, s := range row.seats {
				if !t.placed {
					s.x, s.y = (float64(k)-float64(len(row.seats)-1)/2)*csvSeatGap, float64(i)*csvRowGap
				}
				line.seat(s.category, s.x, s.y)
				guid++
				added := &line.Seats[len(line.Seats)-1]
				added.Number, added.GUID = s.number, strconv.Itoa(guid)
				added.mark(s.attributes)
			}
		}
		y += float64(len(section.rows)-1)*csvRowGap + csvSectionGap + csvRowGap
	}
	if !t.placed {
		t.plan.stage(40, max(300, float64(widest)*csvSeatGap/2), 70)
	}
}
