// Package paper prints tickets: a PDF with one page of A4 for each.
//
// The same tickets give the same bytes. The typeface is Go Regular and Go Bold,
// which have Latin with its accents, Greek and Cyrillic; letters it does not have
// (Chinese, Japanese, Arabic …) are printed as "?". The code is on the page and
// does not depend on them.
package paper

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"codeberg.org/go-pdf/fpdf"
	"github.com/boombuler/barcode/qr"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/text/unicode/norm"
)

// Ticket is what stands on one page. Times are printed in their own zone.
type Ticket struct {
	Event    string
	Starts   time.Time
	Doors    time.Time // zero: not printed
	Venue    string
	Address  []string
	Section  string
	Row      string // "" where there are none, as the seat
	Seat     string
	Tier     string
	Price    string
	Entrance string // through which door; "" is any
	Notes    string // what is special about the seat; "" for nothing
	Holder   string
	Order    string
	Code     string // for reading aloud
	QR       string
	Issued   time.Time
	Rotating bool // the door takes codes on a phone only
}

// Millimetres of the page.
const (
	pageWidth = 210.0
	margin    = 18.0
	inner     = pageWidth - 2*margin
	tear      = 140.0 // where the code's half begins
	qrSide    = 84.0
	quiet     = 4 // modules of white around a QR code
)

const textFont = "go"

var errNone = errors.New("paper: there are no tickets to print")

// Print writes the pages of tickets.
func Print(w io.Writer, tickets []Ticket) error {
	if len(tickets) == 0 {
		return errNone
	}
	f, err := newFace()
	if err != nil {
		return err
	}
	p := page{Fpdf: fpdf.New("P", "mm", "A4", ""), face: f}
	p.SetCatalogSort(true)
	p.SetCreationDate(tickets[0].Issued.UTC())
	p.SetModificationDate(tickets[0].Issued.UTC())
	p.SetProducer("onsale", false)
	p.SetTitle(f.clean(tickets[0].Event), true)
	p.SetLang("en")
	p.SetAutoPageBreak(false, 0)
	p.SetMargins(margin, margin, margin)
	p.AddUTF8FontFromBytes(textFont, "", goregular.TTF)
	p.AddUTF8FontFromBytes(textFont, "B", gobold.TTF)
	for i := range tickets {
		p.AddPage()
		if err := p.ticket(&tickets[i], i+1, len(tickets)); err != nil {
			return err
		}
	}
	return p.Output(w)
}

type page struct {
	*fpdf.Fpdf

	face *face
}

// Inks.
func (p *page) dark()   { p.SetTextColor(24, 24, 37) }
func (p *page) soft()   { p.SetTextColor(91, 91, 110) }
func (p *page) accent() { p.SetFillColor(67, 56, 202) }

func (p *page) ticket(t *Ticket, n, of int) error {
	p.accent()
	p.Rect(0, 0, pageWidth, 7, "F")

	p.soft()
	p.SetFont(textFont, "B", 11)
	p.at(margin, 14, inner, 6, "onsale", "L")
	p.SetFont(textFont, "", 10)
	p.at(margin, 14, inner, 6, fmt.Sprintf("Ticket %d of %d", n, of), "R")

	p.dark()
	y := p.lines(t.Event, 28, "B", 24, 10, 3)
	y = p.lines(t.Starts.Format("Monday, 2 January 2006, 15:04 MST"), y+4, "", 14, 6.5, 1)
	if !t.Doors.IsZero() {
		p.soft()
		y = p.lines("Doors open at "+t.Doors.Format("15:04"), y+1, "", 11, 5.5, 1)
	}
	p.dark()
	y = p.lines(t.Venue, y+4, "B", 13, 6, 2)
	p.soft()
	p.lines(strings.Join(t.Address, ", "), y+1, "", 11, 5.5, 2)

	p.facts(t)
	p.notes(t)

	p.SetDrawColor(160, 160, 175)
	p.SetLineWidth(0.3)
	p.SetDashPattern([]float64{2, 2}, 0)
	p.Line(margin, tear, pageWidth-margin, tear)
	p.SetDashPattern(nil, 0)

	if err := p.qr(t.QR, margin, tear+10, qrSide); err != nil {
		return err
	}
	p.beside(t)
	p.terms(t)
	return p.Error()
}

// facts are where to go, large, in a row of boxes.
func (p *page) facts(t *Ticket) {
	type fact struct{ name, value string }
	all := []fact{{"SECTION", t.Section}}
	if t.Row != "" {
		all = append(all, fact{"ROW", t.Row})
	}
	if t.Seat != "" {
		all = append(all, fact{"SEAT", t.Seat})
	}
	all = append(all, fact{"CATEGORY", t.Tier}, fact{"PRICE", t.Price})
	const height, gap = 20.0, 3.0
	top := 112.0
	if t.Entrance+t.Notes != "" { // which stand below
		top -= 5
	}
	width := (inner - gap*float64(len(all)-1)) / float64(len(all))
	for i, f := range all {
		x := margin + float64(i)*(width+gap)
		p.SetFillColor(240, 240, 248)
		p.RoundedRect(x, top, width, height, 2, "1234", "F")
		p.soft()
		p.SetFont(textFont, "", 8)
		p.at(x+3, top+3, width-6, 4, f.name, "L")
		p.dark()
		p.fit(x+3, top+8, width-6, 9, f.value, "B", 16)
	}
}

// notes are through which door to come, and what is special about the seat, below
// the boxes.
func (p *page) notes(t *Ticket) {
	const top = 130.0
	x := margin
	for _, n := range []struct{ name, value string }{{"ENTRANCE", t.Entrance}, {"PLEASE NOTE", t.Notes}} {
		if n.value == "" {
			continue
		}
		p.soft()
		p.SetFont(textFont, "", 8)
		width := p.GetStringWidth(n.name) + 3
		p.at(x, top, width, 5, n.name, "L")
		p.dark()
		p.fit(x+width, top, inner/2-width-3, 5, n.value, "B", 11)
		x = margin + inner/2
	}
}

// beside is what stands beside the QR code.
func (p *page) beside(t *Ticket) {
	x := margin + qrSide + 10
	width := pageWidth - margin - x
	y := tear + 14
	for _, f := range []struct{ name, value, style string }{
		{"HOLDER", t.Holder, "B"},
		{"ORDER", short(t.Order), ""},
		{"CODE", t.Code, "B"},
		{"ISSUED", t.Issued.In(t.Starts.Location()).Format("2 January 2006, 15:04 MST"), ""},
	} {
		p.soft()
		p.SetFont(textFont, "", 8)
		p.at(x, y, width, 4, f.name, "L")
		p.dark()
		p.fit(x, y+4.5, width, 8, f.value, f.style, 15)
		y += 19
	}
}

func (p *page) terms(t *Ticket) {
	text := "Show the code at the door, on paper or on a screen. It lets one person in, once: whoever shows it first. " +
		"Do not post pictures of it. A ticket that was passed on or refunded opens nothing."
	if t.Rotating {
		text = "This event takes only codes on a phone: open the ticket's link there. This page is for your papers. " +
			"A ticket that was passed on or refunded opens nothing."
	}
	p.soft()
	p.lines(text, 258, "", 9, 4.5, 4)
}

// qr draws text as a QR code of side millimetres, its quiet zone included.
func (p *page) qr(text string, x, y, side float64) error {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return fmt.Errorf("paper: %w", err)
	}
	n := code.Bounds().Dx()
	module := side / float64(n+2*quiet)
	p.SetFillColor(255, 255, 255)
	p.Rect(x, y, side, side, "F")
	p.SetFillColor(0, 0, 0)
	dark := func(col, row int) bool {
		v, _, _, _ := code.At(col, row).RGBA()
		return v < 0x8000
	}
	for row := range n {
		for col := 0; col < n; col++ {
			from := col
			for col < n && dark(col, row) { // one bar for dark modules in a row: no hairlines between them
				col++
			}
			if col > from {
				p.Rect(x+float64(from+quiet)*module, y+float64(row+quiet)*module, float64(col-from)*module, module, "F")
			}
		}
	}
	return nil
}

// at writes one line into a box.
func (p *page) at(x, y, w, h float64, text, align string) {
	p.SetXY(x, y)
	p.CellFormat(w, h, p.face.clean(text), "", 0, align, false, 0, "")
}

// fit writes one line, smaller if it is too long, and cut off if it would become
// too small to read.
func (p *page) fit(x, y, w, h float64, text, style string, size float64) {
	const least = 8.0
	text = p.face.clean(text)
	for ; ; size-- {
		p.SetFont(textFont, style, size)
		if size <= least || p.GetStringWidth(text) <= w {
			break
		}
	}
	p.at(x, y, w, h, p.cut(text, w), "L")
}

// cut shortens text to a width.
func (p *page) cut(text string, w float64) string {
	if p.GetStringWidth(text) <= w {
		return text
	}
	letters := []rune(text)
	for len(letters) > 0 && p.GetStringWidth(string(letters)+"…") > w {
		letters = letters[:len(letters)-1]
	}
	return string(letters) + "…"
}

// lines writes text in at most so many lines and returns where they end.
func (p *page) lines(text string, y float64, style string, size, height float64, most int) float64 {
	p.SetFont(textFont, style, size)
	for _, line := range p.wrap(p.face.clean(text), most) {
		p.at(margin, y, inner, height, line, "L")
		y += height
	}
	return y
}

// wrap breaks text at spaces. What is left after most lines is cut off.
func (p *page) wrap(text string, most int) (lines []string) {
	words := strings.Fields(text)
	for len(words) > 0 {
		n := 1
		for n < len(words) && p.GetStringWidth(strings.Join(words[:n+1], " ")) <= inner-2 {
			n++
		}
		if len(lines) == most-1 {
			n = len(words)
		}
		lines = append(lines, p.cut(strings.Join(words[:n], " "), inner-2))
		words = words[n:]
	}
	return lines
}

// short is enough of an id to talk about.
func short(id string) string {
	if len(id) < 12 {
		return id
	}
	return id[len(id)-12:]
}

// face knows which letters can be printed.
type face struct {
	font *sfnt.Font
	buf  sfnt.Buffer
}

func newFace() (*face, error) {
	font, err := sfnt.Parse(goregular.TTF)
	if err != nil {
		return nil, fmt.Errorf("paper: %w", err)
	}
	return &face{font: font}, nil
}

// clean replaces what cannot be printed: accents are joined with their letters,
// and letters that the typeface lacks become "?".
func (f *face) clean(text string) string {
	var b strings.Builder
	for _, r := range norm.NFC.String(text) {
		switch {
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
		case f.has(r):
			b.WriteRune(r)
		case unicode.Is(unicode.Mn, r): // better without the mark than without the letter
		default:
			b.WriteByte('?')
		}
	}
	return b.String()
}

func (f *face) has(r rune) bool {
	i, err := f.font.GlyphIndex(&f.buf, r)
	return err == nil && i != 0 && r <= 0xffff
}
