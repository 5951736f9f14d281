package checkout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"onsale/catalog"
	"onsale/checkout/ticket"
	"onsale/internal/fault"
)

// EndReason is why an admission lets nobody in any more.
type EndReason string

// The reasons.
const (
	EndTransferred EndReason = "transferred"
	EndRefunded    EndReason = "refunded"
	EndCancelled   EndReason = "cancelled"
	EndExchanged   EndReason = "exchanged"
)

// Admission is a ticket in the hands of one holder: the code that the door scans,
// and what became of it.
type Admission struct {
	ID, Order, Ticket, Event string
	Previous                 string // whose transfer made it, "" if it came with the order
	Section, Row, Seat, Tier string
	Entrance                 string // through which door; "" is any
	Attributes               catalog.Attributes
	Price                    catalog.Money
	Code                     string
	Holder                   Buyer
	Secret                   []byte // of the rotating code
	Rotating                 bool   // the door takes rotating codes only
	EventOff                 bool   // the event is cancelled
	Issued                   time.Time
	Ended                    *time.Time
	EndReason                EndReason // "" until it ends
	Scanned                  *time.Time
	ScannedBy, Gate, ScanID  string // of that scan
	Next                     *Buyer // who it was passed on to
	Mailed                   bool   // by TransferAdmission alone: its holder is told by e-mail
	Ordinal                  int
}

// Live reports whether the admission opens the door.
func (a *Admission) Live() bool { return a.Ended == nil && a.Scanned == nil && !a.EventOff }

// Signed is what its QR code says.
func (a *Admission) Signed(s ticket.Signer) (string, error) {
	event, eventErr := uuid.Parse(a.Event)
	of, ticketErr := uuid.Parse(a.Ticket)
	admission, err := uuid.Parse(a.ID)
	if err := errors.Join(eventErr, ticketErr, err); err != nil {
		return "", fmt.Errorf("checkout: admission %s: %w", a.ID, err)
	}
	return ticket.Sign(s, ticket.Ticket{Event: event, Ticket: of, Admission: admission, Issued: a.Issued}), nil
}

// Mark is one scan to be recorded.
type Mark struct {
	Admission, By, Gate, ID string
	At                      time.Time // zero: now, by the store's clock
}

// AdmissionStore keeps admissions durably. Its errors are faults.
type AdmissionStore interface {
	// Admissions lists what was issued with an order, by ordinal, whatever became
	// of it: the latest for a ticket that came back to the order.
	Admissions(ctx context.Context, order string) ([]Admission, error)
	// Admission is NotFound for an unknown id.
	Admission(ctx context.Context, id string) (Admission, error)
	// FindAdmissions finds those with one of the ids, or one of the codes. What is
	// not there is left out.
	FindAdmissions(ctx context.Context, ids, codes []string) ([]Admission, error)
	// TransferAdmission ends an admission and begins one for another holder.
	// Repeating it returns the same one. Conflict when the admission has ended
	// otherwise, was scanned, or has another next holder. Mailed says what became of
	// the e-mail so far.
	TransferAdmission(ctx context.Context, id string, to Buyer) (Admission, error)
	// MarkScanned records scans of admissions that are live, each one once, and
	// returns the ids of those. The database decides who comes first.
	MarkScanned(ctx context.Context, marks []Mark) ([]string, error)
	// EachAdmission calls f with all admissions of an event, by id, until it
	// fails. They are of one moment.
	EachAdmission(ctx context.Context, event string, f func(*Admission) error) error
	// AdmissionsVersion changes whenever EachAdmission would say something else.
	AdmissionsVersion(ctx context.Context, event string) (string, error)
}

// Admissions lists what was issued with an order.
func (s *Service) Admissions(ctx context.Context, order string) ([]Admission, error) {
	return s.orders.Admissions(ctx, order)
}

// Admission reads one ticket in the hands of a holder.
func (s *Service) Admission(ctx context.Context, id string) (Admission, error) {
	return s.orders.Admission(ctx, id)
}

// Transfer passes a ticket on: the old code is dead, the new holder has another.
// The same transfer again returns the same admission.
func (s *Service) Transfer(ctx context.Context, admission string, to Buyer) (Admission, error) {
	if err := CheckHolder(to); err != nil {
		return Admission{}, err
	}
	return s.orders.TransferAdmission(ctx, admission, to)
}

// EachAdmission calls f with all admissions of an event. version stands for what
// they are; f is not called if it is seen already.
func (s *Service) EachAdmission(ctx context.Context, event string, begin func(version string) (more bool), f func(*Admission) error) error {
	version, err := s.orders.AdmissionsVersion(ctx, event)
	if err != nil || !begin(version) {
		return err
	}
	return s.orders.EachAdmission(ctx, event, f)
}

// Result is what the door is told about a code.
type Result string

// The results. All but Admitted leave whoever shows the code outside.
const (
	ScanAdmitted    Result = "admitted"
	ScanAgain       Result = "already_scanned"
	ScanNotValid    Result = "not_valid" // malformed, forged or unknown
	ScanWrongEvent  Result = "wrong_event"
	ScanRotating    Result = "rotating_required" // a genuine code, but one that could be a picture of it
	ScanStale       Result = "code_expired"      // the rotating part is of another moment
	ScanTransferred Result = "transferred"
	ScanRefunded    Result = "refunded"
	ScanCancelled   Result = "cancelled" // the ticket, or the whole event
	ScanExchanged   Result = "exchanged"
)

// Results lists them for the API's tests.
var Results = []Result{
	ScanAdmitted, ScanAgain, ScanNotValid, ScanWrongEvent, ScanRotating, ScanStale, ScanTransferred, ScanRefunded, ScanCancelled, ScanExchanged,
}

// Scan is a code shown at the door.
type Scan struct {
	Code  string // signed text, rotating text or text code
	Gate  string
	Event string // that the door is of; "": any
	// ID is the scanner's name for this scan, "" to have one made. A scan that is
	// sent again with it, since its answer was lost, has the same result.
	ID string
	By string
	// At is when the code was shown. Recorded says that it was before now, by a
	// scanner without a connection.
	At       time.Time
	Recorded bool
	// Manual takes a code that does not rotate where they have to: a person at
	// the door has looked.
	Manual bool
}

// Scanned is what became of a scan. Admission is nil for what is not valid or of
// another event.
type Scanned struct {
	Result    Result
	Admission *Admission
}

// Bounds of scans.
const (
	MostScans     = 1000
	mostGate      = 64
	mostScanID    = 64
	mostScanAge   = 14 * 24 * time.Hour
	mostClockSkew = 5 * time.Minute
)

// Check says what is wrong with a scan, as fault.Invalid.
func (c *Scan) Check(now time.Time) error {
	switch {
	case c.Code == "" || len(c.Code) > ticket.MaxLength:
		return fault.New(fault.Invalid, "code must be what the ticket's code says, of 1 to %d bytes", ticket.MaxLength)
	case !plainText(c.Gate, mostGate):
		return fault.New(fault.Invalid, "gate must be text of at most %d bytes", mostGate)
	case c.Event != "" && !catalog.IsID(c.Event):
		return fault.New(fault.Invalid, "event must be the id of an event")
	case !plainText(c.ID, mostScanID):
		return fault.New(fault.Invalid, "id must be text of at most %d bytes", mostScanID)
	case c.Recorded && (c.At.After(now.Add(mostClockSkew)) || c.At.Before(now.Add(-mostScanAge))):
		return fault.New(fault.Invalid, "scanned_at must be within the last %d days", int(mostScanAge.Hours()/24))
	}
	return nil
}

func plainText(s string, most int) bool {
	return len(s) <= most && !hasControl(s) && utf8.ValidString(s)
}

// Scan lets people in: whoever shows the code of a live ticket first. Scans that
// were recorded offline come all at once; of two of one ticket the earlier counts.
// The result of scans[i] is at i.
func (s *Service) Scan(ctx context.Context, keys ticket.Keys, scans []Scan) ([]Scanned, error) {
	if len(scans) > MostScans {
		return nil, fault.New(fault.Invalid, "at most %d scans can be sent at once", MostScans)
	}
	results := make([]Scanned, len(scans))
	shown := make([]ticket.Presented, len(scans))
	var ids, codes []string
	for i := range scans {
		results[i].Result = ScanNotValid
		p, err := ticket.Parse(scans[i].Code)
		switch {
		case err != nil:
		case !p.Signed():
			shown[i] = p
			codes = append(codes, p.Code, ticket.Reread(p.Code))
		case p.Genuine(keys):
			shown[i] = p
			ids = append(ids, p.Ticket.Admission.String())
		}
	}
	if len(ids)+len(codes) == 0 {
		return results, nil
	}
	found, err := s.orders.FindAdmissions(ctx, ids, codes)
	if err != nil {
		return nil, err
	}
	known := byIDAndCode(found)
	var marks []Mark
	var marked []int // the scan of each
	for _, i := range inTime(scans) {
		a := known.of(&shown[i])
		if a == nil {
			continue
		}
		results[i] = judge(&scans[i], &shown[i], a)
		if results[i].Result != ScanAdmitted || a.Scanned != nil { // refused, or a repeated scan
			continue
		}
		c := &scans[i]
		if c.ID == "" {
			if c.ID, err = newID(); err != nil {
				return nil, err
			}
		}
		m := Mark{Admission: a.ID, By: c.By, Gate: c.Gate, ID: c.ID}
		if c.Recorded {
			m.At = c.At
		}
		marks, marked = append(marks, m), append(marked, i)
	}
	return results, s.mark(ctx, scans, marks, marked, results)
}

// mark records the scans that were judged well; what somebody else was quicker
// with, or came twice here, is judged again.
func (s *Service) mark(ctx context.Context, scans []Scan, marks []Mark, marked []int, results []Scanned) error {
	if len(marks) == 0 {
		return nil
	}
	first := make(map[string]bool, len(marks))
	var once []Mark
	ids := make([]string, 0, len(marks))
	for _, m := range marks {
		if !first[m.Admission] {
			first[m.Admission] = true
			once, ids = append(once, m), append(ids, m.Admission)
		}
	}
	if _, err := s.orders.MarkScanned(ctx, once); err != nil {
		return err
	}
	now, err := s.orders.FindAdmissions(ctx, ids, nil)
	if err != nil {
		return err
	}
	known := byIDAndCode(now)
	for _, i := range marked {
		a := known[results[i].Admission.ID]
		if a == nil || a.Ended == nil && a.Scanned == nil {
			return fmt.Errorf("checkout: admission %s was neither scanned nor ended", results[i].Admission.ID)
		}
		results[i] = Scanned{Result: standing(&scans[i], a), Admission: a}
	}
	return nil
}

// judge decides about a code by what is known of its admission.
func judge(c *Scan, p *ticket.Presented, a *Admission) Scanned {
	if p.Signed() && (p.Ticket.Ticket.String() != a.Ticket || p.Ticket.Event.String() != a.Event) {
		return Scanned{Result: ScanNotValid}
	}
	if c.Event != "" && c.Event != a.Event {
		return Scanned{Result: ScanWrongEvent}
	}
	if r := standing(c, a); r != ScanAdmitted || a.Scanned != nil {
		return Scanned{Result: r, Admission: a}
	}
	switch {
	case p.Digits != "" && !ticket.Current(a.Secret, p.Digits, c.At) && !c.Manual:
		return Scanned{Result: ScanStale, Admission: a}
	case p.Digits == "" && a.Rotating && !c.Manual:
		return Scanned{Result: ScanRotating, Admission: a}
	}
	return Scanned{Result: ScanAdmitted, Admission: a}
}

// standing is what the admission itself says about a scan: that it was the one
// that let somebody in, that it came too late, or that nothing is in its way.
func standing(c *Scan, a *Admission) Result {
	switch {
	case a.Scanned != nil && c.ID != "" && a.ScanID == c.ID:
		return ScanAdmitted
	case a.Ended != nil:
		return Result(a.EndReason)
	case a.EventOff:
		return ScanCancelled
	case a.Scanned != nil:
		return ScanAgain
	}
	return ScanAdmitted
}

// admissionsKnown finds admissions by id and by code.
type admissionsKnown map[string]*Admission

func byIDAndCode(list []Admission) admissionsKnown {
	known := make(admissionsKnown, 2*len(list))
	for i := range list {
		known[list[i].ID], known[list[i].Code] = &list[i], &list[i]
	}
	return known
}

func (k admissionsKnown) of(p *ticket.Presented) *Admission {
	switch {
	case p.Signed():
		return k[p.Ticket.Admission.String()]
	case p.Code == "":
		return nil
	case k[p.Code] != nil:
		return k[p.Code]
	}
	return k[ticket.Reread(p.Code)]
}

// inTime lists scans by when they were made.
func inTime(scans []Scan) []int {
	order := make([]int, len(scans))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return scans[a].At.Compare(scans[b].At) })
	return order
}

// CheckHolder says what is wrong with what is told of a new holder, as
// fault.Invalid.
func CheckHolder(b Buyer) error {
	err := b.check()
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return fault.New(f.Code, "%s", strings.TrimPrefix(f.Detail, "buyer."))
	}
	return err
}
