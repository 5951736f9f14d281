package web

import (
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/internal/fault"
)

// The door: scans, one by one or recorded offline, and the list for scanners that
// have no connection.

const (
	scanBatchPath  = "/v1/admin/scan/batch"
	scanBatchBytes = 1 << 20 // MostScans of the longest codes
	scanActor      = "admin"
)

func (s *Server) doorRoutes(r gin.IRouter) {
	a := r.Group("/v1/admin", s.requireAdmin)
	a.POST("/scan", s.scan)
	a.POST("/scan/batch", s.scanBatch)
	a.GET("/events/:id/scanlist", s.scanList)
}

type scanBody struct {
	Code      string     `json:"code"`
	Gate      string     `json:"gate"`
	Event     string     `json:"event"`
	ID        string     `json:"id"`
	ScannedAt *time.Time `json:"scanned_at"`
	Manual    bool       `json:"manual"`
}

func (b *scanBody) scan(now time.Time) (checkout.Scan, error) {
	scan := checkout.Scan{
		Code: b.Code, Gate: b.Gate, Event: strings.ToLower(b.Event), ID: b.ID, By: scanActor, At: now, Manual: b.Manual,
	}
	if b.ScannedAt != nil {
		scan.At, scan.Recorded = *b.ScannedAt, true
	}
	return scan, scan.Check(now)
}

type scannedTicket struct {
	Admission string `json:"admission"`
	Ticket    string `json:"ticket"`
	Event     string `json:"event"`
	Order     string `json:"order"`
	Section   string `json:"section"`
	Row       string `json:"row"`
	Seat      string `json:"seat"`
	Tier      string `json:"tier"`
	Holder    string `json:"holder"`
	// Attributes and Entrance are those of the seat and its section.
	Attributes catalog.Attributes `json:"attributes,omitzero"`
	Entrance   string             `json:"entrance,omitempty"`
}

// scannedView tells the door what to do. When, by whom and where are of the scan
// that let somebody in, if there was one.
type scannedView struct {
	ID        string          `json:"id"`
	Result    checkout.Result `json:"result"`
	Ticket    *scannedTicket  `json:"ticket"`
	ScannedAt *time.Time      `json:"scanned_at"`
	ScannedBy *string         `json:"scanned_by"`
	Gate      *string         `json:"gate"`
}

func viewScan(scan *checkout.Scan, r *checkout.Scanned) scannedView {
	v := scannedView{ID: scan.ID, Result: r.Result}
	a := r.Admission
	if a == nil {
		return v
	}
	v.Ticket = &scannedTicket{
		Admission: a.ID, Ticket: a.Ticket, Event: a.Event, Order: a.Order, Section: a.Section, Row: a.Row, Seat: a.Seat, Tier: a.Tier,
		Holder: a.Holder.Name, Attributes: a.Attributes, Entrance: a.Entrance,
	}
	if a.Scanned != nil {
		v.ScannedAt, v.ScannedBy, v.Gate = a.Scanned, &a.ScannedBy, &a.Gate
	}
	return v
}

// scan lets one person in. The row it writes says who did it, where and when, so
// the audit log does not: the door has no time to write twice.
func (s *Server) scan(c *gin.Context) {
	var b scanBody
	err := body(c, &b)
	var scan checkout.Scan
	if err == nil {
		scan, err = b.scan(s.Clock())
	}
	scans := []checkout.Scan{scan}
	var results []checkout.Scanned
	if err == nil {
		results, err = s.Shop.Scan(c.Request.Context(), s.Keys, scans)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, viewScan(&scans[0], &results[0]))
}

type scanBatchBody struct {
	Event string        `json:"event"`
	Gate  string        `json:"gate"`
	Scans []scanInBatch `json:"scans"`
}

type scanInBatch struct {
	ID        string     `json:"id"`
	Code      string     `json:"code"`
	ScannedAt *time.Time `json:"scanned_at"`
	Manual    bool       `json:"manual"`
}

// recorded is one scan of a batch.
func (b *scanBatchBody) recorded(i int, now time.Time) (checkout.Scan, error) {
	of := &b.Scans[i]
	switch {
	case of.ID == "":
		return checkout.Scan{}, fault.New(fault.Invalid, "scans[%d].id: the scanner's own name for the scan is needed", i)
	case of.ScannedAt == nil:
		return checkout.Scan{}, fault.New(fault.Invalid, "scans[%d].scanned_at: when it was scanned is needed", i)
	}
	one := scanBody{Code: of.Code, Gate: b.Gate, Event: b.Event, ID: of.ID, ScannedAt: of.ScannedAt, Manual: of.Manual}
	scan, err := one.scan(now)
	if f, ok := errors.AsType[*fault.Error](err); ok {
		err = fault.New(f.Code, "scans[%d]: %s", i, f.Detail)
	}
	return scan, err
}

// scanBatch takes what was scanned without a connection.
func (s *Server) scanBatch(c *gin.Context) {
	var b scanBatchBody
	err := body(c, &b)
	if err == nil && (len(b.Scans) == 0 || len(b.Scans) > checkout.MostScans) {
		err = fault.New(fault.Invalid, "scans must have from 1 to %d entries", checkout.MostScans)
	}
	now := s.Clock()
	scans := make([]checkout.Scan, min(len(b.Scans), checkout.MostScans))
	for i := range scans {
		if err != nil {
			break
		}
		scans[i], err = b.recorded(i, now)
	}
	if err == nil {
		err = s.record(c, "door.upload", b.Event, gin.H{"gate": b.Gate, "scans": len(scans)})
	}
	var results []checkout.Scanned
	if err == nil {
		results, err = s.Shop.Scan(c.Request.Context(), s.Keys, scans)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	views, admitted := make([]scannedView, len(results)), 0
	for i := range results {
		views[i] = viewScan(&scans[i], &results[i])
		if results[i].Result == checkout.ScanAdmitted {
			admitted++
		}
	}
	private(c, http.StatusOK, gin.H{"admitted": admitted, "conflicts": len(results) - admitted, "results": views})
}

// scanList is the list of an event for scanners. It is written as it is read: an
// error on the way breaks the connection off, so that nobody takes a part for the
// whole.
func (s *Server) scanList(c *gin.Context) {
	event, err := id(c, "id")
	format := c.DefaultQuery("format", "json")
	if err == nil && format != "json" && format != "csv" {
		err = fault.New(fault.Invalid, "query parameter \"format\" must be json or csv")
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	var list scanWriter
	fresh := false
	err = s.Shop.EachAdmission(c.Request.Context(), event, func(version string) bool {
		sum := sha256.Sum256(append([]byte(format+version), s.Keys.JWKS()...))
		tag := `"` + hex.EncodeToString(sum[:12]) + `"`
		c.Header("Cache-Control", "private, no-cache")
		c.Header("ETag", tag)
		if fresh = c.GetHeader("If-None-Match") == tag; fresh {
			return false
		}
		if format == "csv" {
			c.Header("Content-Type", "text/csv; charset=utf-8")
			list = &csvScanList{to: csv.NewWriter(c.Writer)}
		} else {
			c.Header("Content-Type", jsonType)
			list = &jsonScanList{to: c.Writer, event: event, keys: s.Keys.JWKS(), now: s.Clock().UTC()}
		}
		c.Status(http.StatusOK)
		return true
	}, func(a *checkout.Admission) error { return list.add(scanEntry(a)) })
	switch {
	case err == nil && fresh:
		c.Status(http.StatusNotModified)
		return
	case err == nil:
		err = list.end()
	case list == nil || !c.Writer.Written():
		for _, name := range []string{"ETag", "Content-Type"} {
			c.Writer.Header().Del(name)
		}
		s.fail(c, err)
		return
	}
	if err != nil {
		s.log.WarnContext(c.Request.Context(), "a list for scanners was broken off", slog.String("event", event), slog.Any("error", err))
		panic(http.ErrAbortHandler)
	}
}

// scanListEntry is what an offline scanner needs of one admission, and no more:
// neither codes nor names.
type scanListEntry struct {
	Admission string     `json:"admission"`
	Digest    string     `json:"code_sha256"`
	Ticket    string     `json:"ticket"`
	Section   string     `json:"section"`
	Row       string     `json:"row"`
	Seat      string     `json:"seat"`
	Tier      string     `json:"tier"`
	Holder    string     `json:"holder"` // initials
	State     string     `json:"state"`
	Rotating  bool       `json:"rotating"`
	ScannedAt *time.Time `json:"scanned_at"`
	// Attributes and Entrance are those of the seat and its section.
	Attributes catalog.Attributes `json:"attributes,omitzero"`
	Entrance   string             `json:"entrance,omitempty"`
}

func scanEntry(a *checkout.Admission) scanListEntry {
	sum := sha256.Sum256([]byte(a.Code))
	e := scanListEntry{
		Admission: a.ID, Digest: hex.EncodeToString(sum[:]), Ticket: a.Ticket, Section: a.Section, Row: a.Row, Seat: a.Seat, Tier: a.Tier,
		Holder: initials(a.Holder.Name), State: ticketValid, Rotating: a.Rotating, ScannedAt: a.Scanned,
		Attributes: a.Attributes, Entrance: a.Entrance,
	}
	switch {
	case a.Ended != nil:
		e.State = string(a.EndReason)
	case a.EventOff:
		e.State = string(checkout.EndCancelled)
	case a.Scanned != nil:
		e.State = ticketScanned
	}
	return e
}

// initials are the first letters of the first and the last part of a name.
func initials(name string) string {
	parts := strings.Fields(name)
	var b strings.Builder
	for i, part := range parts {
		if i == 0 || i == len(parts)-1 {
			first, _ := utf8.DecodeRuneInString(part)
			b.WriteRune(unicode.ToUpper(first))
		}
	}
	return b.String()
}

type scanWriter interface {
	add(e scanListEntry) error
	end() error
}

type jsonScanList struct {
	to    io.Writer
	event string
	keys  []byte
	now   time.Time
	begun bool
}

// begin writes what comes before the first entry: the keys that signed tickets,
// so that one file is all a scanner needs.
func (l *jsonScanList) begin() error {
	l.begun = true
	head, err := json.Marshal(struct {
		Event string          `json:"event"`
		AsOf  time.Time       `json:"as_of"`
		Keys  json.RawMessage `json:"jwks"`
	}{l.event, l.now, l.keys})
	if err != nil {
		return err
	}
	_, err = l.to.Write(append(head[:len(head)-1], `,"admissions":[`...))
	return err
}

func (l *jsonScanList) add(e scanListEntry) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if l.begun {
		b = append([]byte(",\n"), b...)
	} else if err := l.begin(); err != nil {
		return err
	}
	_, err = l.to.Write(b)
	return err
}

func (l *jsonScanList) end() error {
	if !l.begun {
		if err := l.begin(); err != nil {
			return err
		}
	}
	_, err := io.WriteString(l.to, "]}\n")
	return err
}

type csvScanList struct {
	to    *csv.Writer
	begun bool
}

func (l *csvScanList) begin() error {
	l.begun = true
	return l.to.Write([]string{"admission", "code_sha256", "ticket", "section", "row", "seat", "tier", "holder", "state", "rotating", "scanned_at", "attributes", "entrance"})
}

func (l *csvScanList) add(e scanListEntry) error {
	if !l.begun {
		if err := l.begin(); err != nil {
			return err
		}
	}
	scanned, rotating := "", "no"
	if e.ScannedAt != nil {
		scanned = e.ScannedAt.Format(time.RFC3339)
	}
	if e.Rotating {
		rotating = "yes"
	}
	return l.to.Write([]string{e.Admission, e.Digest, e.Ticket, e.Section, e.Row, e.Seat, e.Tier, e.Holder, e.State, rotating, scanned, strings.Join(e.Attributes.Names(), " "), e.Entrance})
}

func (l *csvScanList) end() error {
	if !l.begun {
		if err := l.begin(); err != nil {
			return err
		}
	}
	l.to.Flush()
	return l.to.Error()
}
