package checkout

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"onsale/catalog"
	"onsale/internal/fault"
)

// Tickets that were sold or given elsewhere: at a box office, by another system. They
// come in as orders that are fulfilled from the beginning, with codes of their own, and
// without a payment: what was paid for them stands in somebody else's books.

// Bounds of one file of tickets.
const (
	MostOutside     = 20_000 // tickets
	mostOutsideFile = 32 << 20
	mostReference   = 100
	mostOutsideSaid = 100 // problems that are named
)

// nobodysEmail is the address of those who have given none; nothing is sent there
// (RFC 2606).
const nobodysEmail = "guest@onsale.invalid"

// outsideChannel stands in the live inventory for tickets that are being brought in.
// It is nobody's channel: no visitor can enter it.
const outsideChannel = MostChannels + 1

// OutsideRow is a line of the file: a seat, or some places of an area.
type OutsideRow struct {
	Line               int
	Section, Row, Seat string
	Quantity           int // of an area; 0: a seat
	Buyer              Buyer
	Reference          string
}

// OutsideOrder is what a row becomes.
type OutsideOrder struct {
	ID        string
	Line      int
	Reference string
	Buyer     Buyer
	Items     []Item
}

// OutsideKnown is an order that was brought in before.
type OutsideKnown struct {
	Buyer    Buyer
	Status   OrderStatus
	Ordinals []int // that it ever had, ascending
}

// OutsideNow is what decides about tickets that are brought in. It does not change until
// they are written, but for tickets that buyers hold or order.
type OutsideNow struct {
	Truth

	Status    string // of the event
	OffSale   *time.Time
	HoldsOver bool // those that were made while it was on sale
	Known     map[string]OutsideKnown
}

// OutsideStore is the part of an OrderStore for tickets from elsewhere.
type OutsideStore interface {
	// ImportTickets writes the orders that prepare returns, all of them or none, while no
	// other import of this event goes on. TicketsTaken (a TakenError) when somebody has one
	// of the tickets. last is how long a hold may live. If nothing is written, undo is called,
	// and only then the next import begins; whether something was is not known when the
	// commit fails, and it is not called.
	ImportTickets(ctx context.Context, event string, last time.Duration,
		prepare func(context.Context, OutsideNow) ([]OutsideOrder, error), undo func(context.Context)) error
}

// OutsideImport says how tickets are brought in.
type OutsideImport struct {
	Event  string
	File   []byte // CSV
	DryRun bool
}

// OutsideDone is what came of it.
type OutsideDone struct {
	Orders  int      `json:"orders"`  // that were made, or would be
	Tickets int      `json:"tickets"` // of them
	Left    int      `json:"left"`    // rows that were there before
	Notes   []string `json:"notes"`   // what the file says otherwise of those
	DryRun  bool     `json:"dry_run"`
}

// outsideProblems gathers what is wrong with a file.
type outsideProblems struct {
	list  []catalog.Problem
	found int
}

func (p *outsideProblems) linef(line int, format string, args ...any) {
	if p.found++; len(p.list) < mostOutsideSaid {
		p.list = append(p.list, catalog.Problem{Path: "line " + strconv.Itoa(line), Message: fmt.Sprintf(format, args...)})
	}
}

func (p *outsideProblems) err() error {
	if p.found == 0 {
		return nil
	}
	more := ""
	if p.found > 1 {
		more = fmt.Sprintf(" (and %d more problems)", p.found-1)
	}
	return fault.New(fault.Invalid, "the tickets: %s: %s%s", p.list[0].Path, p.list[0].Message, more).With("problems", p.list)
}

// outsideColumns are those a table may have. Attributes and entrance are the event's to
// say: they are not read, so that tables that came from the export may keep them.
var outsideColumns = []string{"section", "row", "seat", "quantity", "name", "email", "reference", "attributes", "entrance"}

// ParseOutside reads a table of tickets, CSV with "," or ";" between the columns that
// its first line names, in any order: section, name, for seats row and seat, for areas
// quantity, and perhaps email and reference; attributes and entrance are left unread. All problems are reported at once, each
// with its line, in the member "problems" of a fault.Invalid.
func ParseOutside(doc []byte) ([]OutsideRow, error) {
	if len(doc) > mostOutsideFile {
		return nil, fault.New(fault.TooLarge, "the table of tickets is larger than %d MB", mostOutsideFile>>20)
	}
	doc = bytes.TrimPrefix(doc, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(doc) || bytes.ContainsRune(doc, 0) {
		return nil, fault.New(fault.Invalid, "the table of tickets is not UTF-8 text; save it as UTF-8")
	}
	first, _, _ := bytes.Cut(doc, []byte("\n"))
	r := csv.NewReader(bytes.NewReader(doc))
	r.ReuseRecord, r.FieldsPerRecord, r.TrimLeadingSpace = true, -1, true
	if bytes.Count(first, []byte(";")) > bytes.Count(first, []byte(",")) {
		r.Comma = ';'
	}
	var p outsideProblems
	var column map[string]int
	var rows []OutsideRow
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			line := 0
			if e, ok := errors.AsType[*csv.ParseError](err); ok {
				line, err = e.Line, e.Err
			}
			p.linef(line, "is not CSV: %s; what follows was not read", err)
			break
		}
		line, _ := r.FieldPos(0)
		if column == nil {
			if column = outsideHeader(&p, line, record); p.found > 0 {
				break
			}
			continue
		}
		if len(record) != len(column) {
			p.linef(line, "has %d columns instead of %d", len(record), len(column))
			continue
		}
		if len(rows) == MostOutside {
			return nil, fault.New(fault.Invalid, "the table of tickets has more than %d rows", MostOutside)
		}
		rows = append(rows, outsideRow(&p, line, func(name string) string {
			if i, ok := column[name]; ok {
				return strings.TrimSpace(record[i])
			}
			return ""
		}))
	}
	if p.found == 0 && len(rows) == 0 {
		p.linef(1, "there are no tickets below the names of the columns")
	}
	return rows, p.err()
}

func outsideHeader(p *outsideProblems, line int, record []string) map[string]int {
	column := make(map[string]int)
	for i, name := range record {
		name = strings.ToLower(strings.TrimSpace(name))
		switch _, twice := column[name]; {
		case !slices.Contains(outsideColumns, name):
			p.linef(line, "the column %q is not known; there are %s", shorter(name), strings.Join(outsideColumns, ", "))
		case twice:
			p.linef(line, "the column %s stands twice", name)
		default:
			column[name] = i
		}
	}
	for _, name := range []string{"section", "name"} {
		if _, ok := column[name]; !ok {
			p.linef(line, "the column %s is missing", name)
		}
	}
	_, seat := column["seat"]
	_, quantity := column["quantity"]
	if !seat && !quantity {
		p.linef(line, "there is neither a column seat nor quantity")
	}
	return column
}

func outsideRow(p *outsideProblems, line int, cell func(string) string) OutsideRow {
	r := OutsideRow{
		Line: line, Section: cell("section"), Row: cell("row"), Seat: cell("seat"),
		Buyer: Buyer{Name: cell("name"), Email: cell("email")}, Reference: cell("reference"),
	}
	switch {
	case r.Section == "":
		p.linef(line, "the section is missing")
	case cell("quantity") != "" && (r.Row != "" || r.Seat != ""):
		p.linef(line, "has a quantity and a seat: a row is one seat, or places of an area")
	case cell("quantity") != "":
		n, err := strconv.Atoi(cell("quantity"))
		if err != nil || n < 1 || n > MostOutside {
			p.linef(line, "the quantity %q is not a number from 1 to %d", shorter(cell("quantity")), MostOutside)
		}
		r.Quantity = n
		if r.Reference == "" {
			p.linef(line, "the reference is missing: places have no numbers, so without one they would be brought in again with the next file")
		}
	case r.Seat == "":
		p.linef(line, "has neither a seat nor a quantity")
	}
	if r.Buyer.Email == "" {
		r.Buyer.Email = nobodysEmail
	}
	if err := r.Buyer.check(); err != nil {
		f, _ := fault.Of(err)
		p.linef(line, "%s", strings.TrimPrefix(f.Detail, "buyer."))
	}
	if utf8.RuneCountInString(r.Reference) > mostReference || hasControl(r.Reference) {
		p.linef(line, "the reference must be text of at most %d characters", mostReference)
	}
	if r.Reference == "" {
		r.Reference = strings.Join([]string{r.Section, r.Row, r.Seat}, "/")
	}
	return r
}

// shorter bounds what of a file goes into a message.
func shorter(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

// outsidePlan is what a file would do now.
type outsidePlan struct {
	done   OutsideDone
	orders []OutsideOrder
	lines  map[int]int // of the file, by ordinal
	want   map[int]int // places that are still to be chosen, by index of orders
}

// planOutside compares the rows with what is. What could sell a seat twice is refused,
// all of it at once.
func planOutside(rows []OutsideRow, layout *catalog.Layout, now OutsideNow) (*outsidePlan, error) {
	var p outsideProblems
	plan := &outsidePlan{done: OutsideDone{Notes: []string{}}, lines: make(map[int]int), want: make(map[int]int)}
	type place struct{ section, row, seat string }
	seats, areas := make(map[place]int), make(map[string]int)
	for o := range layout.Seats {
		s := &layout.Seats[o]
		if section := &layout.Sections[s.Section]; section.GA {
			areas[section.Name] = s.Section
		} else {
			seats[place{section.Name, s.Row, s.Name}] = o
		}
	}
	free := make(map[int]int, len(areas)) // of an area, places that nobody has
	for _, section := range areas {
		for o := layout.Sections[section].First; o < layout.Sections[section].First+layout.Sections[section].Count; o++ {
			if now.States[o] == Available {
				free[section]++
			}
		}
	}
	references := make(map[string]int)
	for i := range rows {
		r := &rows[i]
		if line, twice := references[r.Reference]; twice {
			p.linef(r.Line, "the reference %q stands in line %d already", shorter(r.Reference), line)
			continue
		}
		references[r.Reference] = r.Line
		ordinal, section := -1, -1
		var ok bool
		if r.Quantity > 0 {
			if section, ok = areas[r.Section]; !ok {
				p.linef(r.Line, "the event has no area %q", shorter(r.Section))
				continue
			}
		} else if ordinal, ok = seats[place{r.Section, r.Row, r.Seat}]; !ok {
			p.linef(r.Line, "the event has no seat %q in row %q of section %q", shorter(r.Seat), shorter(r.Row), shorter(r.Section))
			continue
		} else if line, twice := plan.lines[ordinal]; twice {
			p.linef(r.Line, "the seat stands in line %d already: it would be sold twice", line)
			continue
		} else {
			plan.lines[ordinal] = r.Line
		}
		if known, ok := now.Known[r.Reference]; ok {
			plan.left(&p, r, known, ordinal, section, layout)
			continue
		}
		id, err := newID()
		if err != nil {
			return nil, err
		}
		o := OutsideOrder{ID: id, Line: r.Line, Reference: r.Reference, Buyer: r.Buyer}
		if ordinal >= 0 {
			switch now.States[ordinal] {
			case Sold:
				p.linef(r.Line, "the seat is sold already")
				continue
			case Held:
				p.linef(r.Line, "the seat is in an order that waits for its payment")
				continue
			}
			o.Items = outsideItems(layout, []int{ordinal})
		} else {
			if free[section] < r.Quantity {
				p.linef(r.Line, "the area has %d places left, not %d", free[section], r.Quantity)
				continue
			}
			free[section] -= r.Quantity
			plan.want[len(plan.orders)] = r.Quantity
		}
		plan.orders = append(plan.orders, o)
		plan.done.Tickets += max(1, r.Quantity)
	}
	plan.done.Orders = len(plan.orders)
	if plan.done.Tickets > MostOutside {
		return nil, fault.New(fault.Invalid, "the table has %d tickets that are new, more than %d", plan.done.Tickets, MostOutside)
	}
	return plan, p.err()
}

// left is a row that was brought in before: it stays as it is.
func (plan *outsidePlan) left(p *outsideProblems, r *OutsideRow, known OutsideKnown, ordinal, section int, layout *catalog.Layout) {
	same := ordinal >= 0 && slices.Equal(known.Ordinals, []int{ordinal})
	if section >= 0 && len(known.Ordinals) == r.Quantity {
		same = layout.Seats[known.Ordinals[0]].Section == section
	}
	if !same {
		p.linef(r.Line, "the reference %q has other tickets here than in the file", shorter(r.Reference))
		return
	}
	plan.done.Left++
	if known.Buyer != r.Buyer {
		plan.done.Notes = append(plan.done.Notes, fmt.Sprintf("line %d: the reference %q is of %s <%s> here and stays so", r.Line, shorter(r.Reference), known.Buyer.Name, known.Buyer.Email))
	}
	if !known.Status.Sold() {
		plan.done.Notes = append(plan.done.Notes, fmt.Sprintf("line %d: the order of the reference %q is %s and stays so", r.Line, shorter(r.Reference), known.Status))
	}
}

// outsideItems are tickets that cost nothing here.
func outsideItems(layout *catalog.Layout, ordinals []int) []Item {
	items := ItemsOf(layout, ordinals, Quote{Items: make([]ItemPrice, len(ordinals))})
	for i := range items {
		items[i].Price.Amount = 0
	}
	return items
}

// choose gives the rows of areas the last places that are free, but for those that were
// tried.
func (plan *outsidePlan) choose(rows []OutsideRow, layout *catalog.Layout, free func(ordinal int) bool) error {
	sections := make(map[int]int) // by line
	for i := range rows {
		if rows[i].Quantity > 0 {
			for s := range layout.Sections {
				if layout.Sections[s].GA && layout.Sections[s].Name == rows[i].Section {
					sections[rows[i].Line] = s
				}
			}
		}
	}
	taken := make(map[int]bool)
	var p outsideProblems
	for n := range plan.orders {
		want := plan.want[n]
		if want == 0 {
			continue
		}
		o := &plan.orders[n]
		section := layout.Sections[sections[o.Line]]
		var chosen []int
		for at := section.First + section.Count - 1; at >= section.First && len(chosen) < want; at-- {
			if !taken[at] && free(at) {
				taken[at] = true
				chosen = append(chosen, at)
			}
		}
		if len(chosen) < want {
			p.linef(o.Line, "the area has %d places left, not %d", len(chosen), want)
			continue
		}
		slices.Sort(chosen)
		o.Items = outsideItems(layout, chosen)
		for _, at := range chosen {
			plan.lines[at] = o.Line
		}
	}
	return p.err()
}

func (plan *outsidePlan) ordinals() (list []int) {
	for i := range plan.orders {
		for k := range plan.orders[i].Items {
			list = append(list, plan.orders[i].Items[k].Ordinal)
		}
	}
	return list
}

// refused names the lines whose tickets somebody has.
func (plan *outsidePlan) refused(ordinals []int, why string) error {
	var p outsideProblems
	slices.Sort(ordinals)
	for _, o := range ordinals {
		p.linef(plan.lines[o], "%s", why)
	}
	return p.err()
}

const (
	onHold   = "somebody holds the seat at the moment"
	justSold = "the seat was sold or ordered a moment ago"
)

// areaTries is how often places of an area are chosen anew when buyers were quicker.
const areaTries = 5

// ImportTickets brings tickets in that were sold elsewhere, all of a file or nothing.
// They are taken out of the live inventory before, in the one step in which buyers
// hold theirs, so that nobody who holds a ticket loses it, and given back before the
// next import may have them. A crash in between, or a commit of which it is not known
// whether it happened, leaves them kept for nobody, until the auditor puts that right.
func (s *Service) ImportTickets(ctx context.Context, r OutsideImport) (OutsideDone, error) {
	rows, layout, err := s.readOutside(ctx, r)
	if err != nil {
		return OutsideDone{}, err
	}
	if _, err := s.inventory.Stock(ctx, r.Event); err != nil { // loads it if need be
		return OutsideDone{}, err
	}
	if err := s.inventory.Sweep(ctx, r.Event); err != nil {
		return OutsideDone{}, err
	}
	c := outsideClaim{s: s, event: r.Event}
	var plan *outsidePlan
	err = s.orders.ImportTickets(ctx, r.Event, s.HoldsLast(), func(ctx context.Context, now OutsideNow) ([]OutsideOrder, error) {
		c.channels = now.Channels
		if plan, err = planOutside(rows, layout, now); err != nil {
			return nil, err
		}
		if err := mayBringIn(now); err != nil || r.DryRun {
			return nil, err
		}
		return plan.orders, c.take(ctx, plan, rows, layout, now)
	}, func(ctx context.Context) { c.settle(ctx, false) })
	if err == nil {
		c.settle(ctx, true)
	}
	if taken, lost := takenOf(err); lost {
		err = plan.refused(taken, justSold)
	}
	if err != nil {
		return OutsideDone{}, err
	}
	plan.done.DryRun = r.DryRun
	return plan.done, nil
}

func (s *Service) readOutside(ctx context.Context, r OutsideImport) ([]OutsideRow, *catalog.Layout, error) {
	layout, err := s.catalog.Layout(ctx, r.Event) // an unknown event, before its file
	if err != nil {
		return nil, nil, err
	}
	rows, err := ParseOutside(r.File)
	return rows, layout, err
}

// mayBringIn refuses tickets of what is over.
func mayBringIn(now OutsideNow) error {
	if now.Status == "cancelled" || now.Status == "ended" {
		return fault.New(fault.Conflict, "the event is %s: nobody can be let in on further tickets", now.Status)
	}
	return nil
}

// outsideClaim is tickets that are out of the live inventory for an import.
type outsideClaim struct {
	s        *Service
	event    string
	channels []byte // of all tickets, as Postgres has them; nil: none
	taken    []int
}

// take takes all tickets of the plan, or none.
func (c *outsideClaim) take(ctx context.Context, plan *outsidePlan, rows []OutsideRow, layout *catalog.Layout, now OutsideNow) error {
	tried := make(map[int]bool) // places that somebody holds
	free := func(o int) bool { return now.States[o] == Available && !tried[o] }
	for try := 1; ; try++ {
		if err := plan.choose(rows, layout, free); err != nil {
			return err
		}
		var held []int
		for part := range slices.Chunk(without(plan.ordinals(), c.taken), mostSettled) {
			got, err := c.s.holds.Allot(ctx, c.event, outsideChannel, false, part)
			if err != nil {
				return err
			}
			c.taken = append(c.taken, got...)
			held = append(held, without(part, got)...)
		}
		if len(held) == 0 {
			return nil
		}
		seats := slices.DeleteFunc(slices.Clone(held), func(o int) bool { return layout.Sections[layout.Seats[o].Section].GA })
		if len(seats) > 0 || try == areaTries {
			return plan.refused(held, onHold)
		}
		for _, o := range held {
			tried[o] = true
		}
	}
}

// settle tells the live inventory what became of the tickets: they are sold, or are
// those of whoever had them before. What fails is put right by the auditor.
func (c *outsideClaim) settle(ctx context.Context, sold bool) {
	if len(c.taken) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), inventoryRPC)
	defer cancel()
	var errs []error
	byChannel := make(map[byte][]int)
	for _, o := range c.taken {
		var number byte
		if o < len(c.channels) {
			number = c.channels[o]
		}
		byChannel[number] = append(byChannel[number], o)
	}
	for part := range slices.Chunk(c.taken, mostSettled) {
		if sold {
			errs = append(errs, c.s.holds.Settle(ctx, Settlement{Event: c.event, Ordinals: part, To: Sold}))
		}
	}
	for number, list := range byChannel { // whose they are should they come back
		for part := range slices.Chunk(list, mostSettled) {
			_, err := c.s.holds.Allot(ctx, c.event, int(number), true, part)
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		c.s.log.WarnContext(ctx, "the live inventory will be repaired by the auditor", slog.String("event", c.event), slog.Any("error", err))
	}
	c.s.inventory.changed(c.event)
}

// ImportTicketsOffline is Service.ImportTickets for who has no live inventory at hand:
// only while nobody can hold tickets of the event, nor does any more. The live inventory
// hears of it from the auditor; until then Postgres refuses who would order them.
func ImportTicketsOffline(ctx context.Context, orders OutsideStore, events Catalog, holdsLast time.Duration, r OutsideImport) (OutsideDone, error) {
	layout, err := events.Layout(ctx, r.Event)
	if err != nil {
		return OutsideDone{}, err
	}
	rows, err := ParseOutside(r.File)
	if err != nil {
		return OutsideDone{}, err
	}
	var plan *outsidePlan
	err = orders.ImportTickets(ctx, r.Event, holdsLast, func(_ context.Context, now OutsideNow) ([]OutsideOrder, error) {
		if plan, err = planOutside(rows, layout, now); err != nil {
			return nil, err
		}
		if err := mayBringIn(now); err != nil {
			return nil, err
		}
		if now.Status == "on_sale" {
			return nil, fault.New(fault.Conflict, "the event is on sale, and buyers may hold these seats: bring them in with POST /v1/admin/events/%s/tickets, "+
				"or make the event a draft or postpone it first, and do it %s later", r.Event, holdsLast)
		}
		if !now.HoldsOver {
			return nil, fault.New(fault.Conflict, "tickets cannot be brought in before %s: the event was on sale until %s, and seats may still be on hold",
				now.OffSale.Add(holdsLast).UTC().Format(time.RFC3339), now.OffSale.UTC().Format(time.RFC3339))
		}
		if err := plan.choose(rows, layout, func(o int) bool { return now.States[o] == Available }); err != nil || r.DryRun {
			return nil, err
		}
		return plan.orders, nil
	}, func(context.Context) {}) // nothing was taken
	if taken, lost := takenOf(err); lost {
		err = plan.refused(taken, justSold)
	}
	if err != nil {
		return OutsideDone{}, err
	}
	plan.done.DryRun = r.DryRun
	return plan.done, nil
}
