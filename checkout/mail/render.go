package mail

import (
	"bytes"
	"embed"
	"fmt"
	htmltemplate "html/template"
	"io/fs"
	"path"
	"slices"
	"strings"
	texttemplate "text/template"
	"time"

	"onsale/catalog"
)

// Kind says what an e-mail is about. Kinds stand in the database: never rename one.
type Kind string

// The kinds.
const (
	Confirmation Kind = "confirmation" // of an order, with its tickets
	Refund       Kind = "refund"
	Cancellation Kind = "cancellation" // of an order that somebody tried to pay
	Transfer     Kind = "transfer"     // of a ticket, to who has it now
	SignIn       Kind = "sign_in"      // a code that signs in
	Reschedule   Kind = "reschedule"   // the event takes place at another time
)

// Kinds lists them.
var Kinds = []Kind{Confirmation, Refund, Cancellation, Transfer, SignIn, Reschedule}

// English is the language of those who have said none that we speak.
const English = "en"

// Content is what the templates may show. What is zero is left out.
type Content struct {
	Name    string // of the reader
	Event   Event
	Order   Order
	Amount  catalog.Money // refund: what goes back
	Off     bool          // cancellation, refund: the event does not take place
	Link    string        // where the reader goes from here
	Sender  string        // transfer: who had the ticket before
	Code    string        // sign_in
	Expires time.Time     // sign_in: when the code ends
	Files   int           // how many are attached
	Was     time.Time     // reschedule: when the event was to start
	Dated   bool          // reschedule: the event's start is the new one; otherwise that is not known
	Note    string        // reschedule: what the organiser says
}

// Event is when and where it takes place.
type Event struct {
	Name   string
	Starts time.Time
	Doors  time.Time
	Zone   string // IANA name
	Venue  string // name
	Place  string // address and city
}

// Order is what was bought.
type Order struct {
	ID    string
	Items []Item
	Lines []Line // discounts, by their codes
	Fees  []Line // without a label
	// TaxesOnTop come on top of the lines before, Taxes are part of them.
	TaxesOnTop, Taxes []Line
	Total             catalog.Money
}

// Left counts the tickets that were not given back.
func (o Order) Left() (n int) {
	for i := range o.Items {
		if !o.Items[i].Returned {
			n++
		}
	}
	return n
}

// Item is one ticket.
type Item struct {
	Section, Row, Seat, Tier string
	Price                    catalog.Money
	Returned                 bool   // it was given back
	Notes                    string // its entrance, and what is special about it
}

// Line is an amount with its name.
type Line struct {
	Label  string
	Amount catalog.Money
}

// language is how one of our languages writes what templates cannot.
type language struct {
	day, clock string // layouts of package time
}

// languages has one entry for each folder of templates.
var languages = map[string]language{
	English: {day: "Monday 2 January 2006", clock: "15:04"},
}

//go:embed templates
var templateFiles embed.FS

// set is the templates of one kind in one language.
type set struct {
	text *texttemplate.Template // also defines subject
	html *htmltemplate.Template
}

// Templates write e-mails. They are safe for concurrent use.
type Templates struct {
	sets map[string]map[Kind]set
}

// NewTemplates reads the embedded templates.
func NewTemplates() (*Templates, error) {
	t := &Templates{sets: make(map[string]map[Kind]set)}
	for name, l := range languages {
		folder, err := fs.Sub(templateFiles, path.Join("templates", name))
		if err != nil {
			return nil, err
		}
		t.sets[name] = make(map[Kind]set)
		for _, kind := range Kinds {
			var s set
			words := map[string]any{"day": l.writeDay, "clock": l.writeClock, "money": Amount}
			s.text, err = texttemplate.New("").Funcs(words).Option("missingkey=error").ParseFS(folder, "layout.txt", string(kind)+".txt")
			if err != nil {
				return nil, fmt.Errorf("mail: %w", err)
			}
			s.html, err = htmltemplate.New("").Funcs(words).Option("missingkey=error").ParseFS(folder, "layout.html", string(kind)+".html")
			if err != nil {
				return nil, fmt.Errorf("mail: %w", err)
			}
			t.sets[name][kind] = s
		}
	}
	return t, nil
}

// Write makes the subject and both bodies, in English where the language is none
// of ours.
func (t *Templates) Write(kind Kind, lang string, c Content) (m Message, err error) {
	kinds, ok := t.sets[lang]
	if !ok {
		kinds = t.sets[English]
	}
	s, ok := kinds[kind]
	if !ok {
		return m, fmt.Errorf("mail: no e-mail is called %q", kind)
	}
	c = c.inLines()
	var subject, text, html bytes.Buffer
	if err := s.text.ExecuteTemplate(&subject, "subject", c); err != nil {
		return m, fmt.Errorf("mail: %w", err)
	}
	if err := s.text.ExecuteTemplate(&text, "layout.txt", c); err != nil {
		return m, fmt.Errorf("mail: %w", err)
	}
	if err := s.html.ExecuteTemplate(&html, "layout.html", c); err != nil {
		return m, fmt.Errorf("mail: %w", err)
	}
	m.Subject = oneLine(subject.String(), mostSubject)
	m.Text = tidy(text.String())
	m.HTML = html.String()
	return m, nil
}

const (
	mostWords = 300 // characters of a name, a place, a label
	mostNote  = 500
)

// inLines makes one line of everything that somebody has entered, so that it cannot
// pass for something that we say.
func (c Content) inLines() Content {
	line := func(text string) string { return oneLine(text, mostWords) }
	c.Name, c.Sender, c.Note = line(c.Name), line(c.Sender), oneLine(c.Note, mostNote)
	c.Event.Name, c.Event.Venue, c.Event.Place = line(c.Event.Name), line(c.Event.Venue), line(c.Event.Place)
	c.Order.Items = slices.Clone(c.Order.Items)
	for i := range c.Order.Items {
		item := &c.Order.Items[i]
		item.Section, item.Row, item.Seat, item.Tier = line(item.Section), line(item.Row), line(item.Seat), line(item.Tier)
		item.Notes = line(item.Notes)
	}
	for _, lines := range []*[]Line{&c.Order.Lines, &c.Order.TaxesOnTop, &c.Order.Taxes} {
		*lines = slices.Clone(*lines)
		for i := range *lines {
			(*lines)[i].Label = line((*lines)[i].Label)
		}
	}
	return c
}

// tidy leaves one empty line where templates have left several.
func tidy(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := range lines {
		if lines[i] != "-- " { // what follows is a signature, to mail programs
			lines[i] = strings.TrimRight(lines[i], " \t")
		}
	}
	lines = slices.CompactFunc(lines, func(a, b string) bool { return a == "" && b == "" })
	return strings.Join(lines, "\n") + "\n"
}

// local is a time where the event is, and how that place's time is called.
func local(at time.Time, zone string) (time.Time, string) {
	place, err := time.LoadLocation(zone)
	if err != nil || zone == "" || place == time.UTC {
		return at.UTC(), "UTC"
	}
	at = at.In(place)
	name, _ := at.Zone()
	if strings.HasPrefix(name, "+") || strings.HasPrefix(name, "-") {
		name = "UTC" + name
	}
	return at, name
}

func (l language) writeDay(at time.Time, zone string) string {
	at, _ = local(at, zone)
	return at.Format(l.day)
}

func (l language) writeClock(at time.Time, zone string) string {
	at, name := local(at, zone)
	return at.Format(l.clock) + " " + name
}
