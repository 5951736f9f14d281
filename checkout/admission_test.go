package checkout_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"onsale/checkout"
	tickets "onsale/checkout/ticket"
	"onsale/internal/fault"
	"onsale/waitroom/pass"
)

var friend = checkout.Buyer{Name: "Ada Friend", Email: "ada@example.org"}

// fulfilled is bought, with its admissions.
func (h *house) fulfilled(ordinals ...int) (checkout.Order, []checkout.Admission) {
	h.t.Helper()
	_, o := h.bought(ordinals...)
	h.work()
	o, err := h.Order(h.t.Context(), o.ID)
	if err != nil || o.Status != checkout.Fulfilled {
		h.t.Fatalf("fulfilled: %s, %v", o.Status, err)
	}
	list, err := h.Admissions(h.t.Context(), o.ID)
	if err != nil || len(list) != len(ordinals) {
		h.t.Fatalf("admissions: %+v, %v", list, err)
	}
	return o, list
}

// shown scans codes one after the other and returns the results.
func (h *house) shown(keys tickets.Keys, scans ...checkout.Scan) []checkout.Scanned {
	h.t.Helper()
	for i := range scans {
		if scans[i].By == "" {
			scans[i].By = "test"
		}
		if scans[i].At.IsZero() {
			scans[i].At = time.Now()
		}
	}
	results, err := h.Scan(h.t.Context(), keys, scans)
	if err != nil || len(results) != len(scans) {
		h.t.Fatalf("scan: %+v, %v", results, err)
	}
	return results
}

func (h *house) result(keys tickets.Keys, want checkout.Result, c checkout.Scan) checkout.Scanned {
	h.t.Helper()
	got := h.shown(keys, c)[0]
	if got.Result != want {
		h.t.Errorf("%+v: %s, want %s", c, got.Result, want)
	}
	return got
}

func signed(t *testing.T, keys tickets.Signer, a *checkout.Admission) string {
	t.Helper()
	text, err := a.Signed(keys)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// together runs n functions at once and returns their errors.
func together(n int, f func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

func TestFulfilledOrdersHaveOneCodePerTicket(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o, list := h.fulfilled(0, 1, 2)
	seen := map[string]bool{}
	for i := range list {
		a := &list[i]
		item := o.Items[i]
		if a.Ticket != item.Ticket || a.Code != item.Code || a.Section != item.Section || a.Price != item.Price || a.Holder != buyer ||
			a.Order != o.ID || a.Event != h.event || len(a.Secret) != tickets.SecretSize || !a.Live() || a.Ordinal != item.Ordinal {
			t.Errorf("admission %d: %+v of %+v", i, a, item)
		}
		if code, ok := tickets.NormalCode(a.Code); !ok || code != a.Code || seen[a.Code] {
			t.Errorf("code %q", a.Code)
		}
		seen[a.Code] = true
	}
	// A capture that is repeated issues nothing, even where the books forget that it was.
	for _, table := range []string{"payments", "orders"} {
		h.exec(`alter table ` + table + ` disable trigger user`)
	}
	id := query[string](h, `select id::text from payments where order_id = $1`, o.ID)
	h.exec(`update payments set status = 'authorised', look_at = now() where id = $1`, id)
	h.exec(`update orders set status = 'paid' where id = $1`, o.ID)
	if again, err := h.orders.Captured(t.Context(), id); err != nil || !slices.Equal(again.Items, o.Items) {
		t.Errorf("captured again: %+v, %v", again.Items, err)
	}
	h.checkInvariants()
}

// TestOneOfManyScansIsAdmitted, whatever the gates do at once.
func TestOneOfManyScansIsAdmitted(t *testing.T) {
	t.Parallel()
	h, keys := newHouse(t), pass.Generate()
	_, list := h.fulfilled(0, 1)
	texts := []string{signed(t, keys, &list[0]), list[0].Code}
	results := make([]checkout.Scanned, 32)
	for _, err := range together(len(results), func(i int) error {
		r, err := h.Scan(context.Background(), keys, []checkout.Scan{{Code: texts[i%2], Gate: fmt.Sprint("gate ", i), By: "test", At: time.Now()}})
		if err == nil {
			results[i] = r[0]
		}
		return err
	}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	admitted := -1
	for i, r := range results {
		switch r.Result {
		case checkout.ScanAdmitted:
			if admitted >= 0 {
				t.Errorf("gates %d and %d let somebody in", admitted, i)
			}
			admitted = i
		case checkout.ScanAgain:
		default:
			t.Errorf("gate %d: %s", i, r.Result)
		}
	}
	if admitted < 0 {
		t.Fatal("nobody was let in")
	}
	for i, r := range results {
		if r.Admission.Scanned == nil || r.Admission.Gate != fmt.Sprint("gate ", admitted) || r.Admission.ScannedBy != "test" {
			t.Errorf("gate %d hears of %+v", i, r.Admission)
		}
	}
	if n := query[int](h, `select count(*) from admissions where scanned_at is not null`); n != 1 {
		t.Errorf("%d tickets are scanned", n)
	}
}

// TestScanAgainstRefund: either may win. Who is let in was let in before the
// refund, and nobody is after it.
func TestScanAgainstRefund(t *testing.T) {
	t.Parallel()
	h, keys := newHouse(t), pass.Generate()
	for round := range 6 {
		o, list := h.fulfilled(2 * round)
		text := signed(t, keys, &list[0])
		var got [8]checkout.Result
		for _, err := range together(len(got)+1, func(i int) error {
			if i == len(got) {
				_, err := h.RefundOrder(context.Background(), nil, checkout.RefundRequest{Order: o.ID, Actor: "test"})
				return err
			}
			r, err := h.Scan(context.Background(), keys, []checkout.Scan{{Code: text, Gate: fmt.Sprint(i), By: "test", At: time.Now()}})
			if err == nil {
				got[i] = r[0].Result
			}
			return err
		}) {
			if err != nil {
				t.Fatal(err)
			}
		}
		admitted := 0
		for _, r := range got {
			if r == checkout.ScanAdmitted {
				admitted++
			} else if r != checkout.ScanAgain && r != checkout.ScanRefunded {
				t.Errorf("result %s", r)
			}
		}
		scanned := query[int](h, `select count(*) from admissions where order_id = $1 and scanned_at is not null`, o.ID)
		if admitted > 1 || admitted != scanned {
			t.Errorf("%d were let in, %d are recorded: %v", admitted, scanned, got)
		}
		h.result(keys, checkout.ScanRefunded, checkout.Scan{Code: text})
		h.result(keys, checkout.ScanRefunded, checkout.Scan{Code: list[0].Code})
	}
	h.work()
	h.checkInvariants()
}

// TestTransferAgainstRefund: a refund takes the ticket from whoever has it then.
func TestTransferAgainstRefund(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for round := range 6 {
		o, list := h.fulfilled(2 * round)
		errs := together(2, func(i int) error {
			if i == 0 {
				_, err := h.RefundOrder(context.Background(), nil, checkout.RefundRequest{Order: o.ID, Actor: "test"})
				return err
			}
			_, err := h.Transfer(context.Background(), list[0].ID, friend)
			return err
		})
		if errs[0] != nil || errs[1] != nil && !fault.Is(errs[1], fault.Conflict) {
			t.Fatal(errs)
		}
	}
	if n := query[int](h, `select count(*) from admissions where ended_at is null`); n != 0 {
		t.Errorf("%d tickets of refunded orders are alive", n)
	}
	h.work()
	h.checkInvariants()
}

// TestPartOfAnOrderIsRefunded: only the codes of what went back are dead, whoever
// holds them.
func TestPartOfAnOrderIsRefunded(t *testing.T) {
	t.Parallel()
	h, keys := newHouse(t), pass.Generate()
	ctx := t.Context()
	o, list := h.fulfilled(0, 1, 2)
	next, err := h.Transfer(ctx, list[0].ID, friend)
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.RefundOrder(ctx, nil, checkout.RefundRequest{Order: o.ID, Tickets: []string{list[0].Ticket, list[1].Ticket}, Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	h.result(keys, checkout.ScanTransferred, checkout.Scan{Code: list[0].Code})
	h.result(keys, checkout.ScanRefunded, checkout.Scan{Code: next.Code})
	h.result(keys, checkout.ScanRefunded, checkout.Scan{Code: list[1].Code})
	// What is left can still be passed on, and opens the door.
	last, err := h.Transfer(ctx, list[2].ID, friend)
	if err != nil {
		t.Fatal(err)
	}
	h.result(keys, checkout.ScanAdmitted, checkout.Scan{Code: last.Code})
	if now, err := h.Order(ctx, o.ID); err != nil || now.Items[0].Code != "" || now.Items[1].Code != "" || now.Items[2].Code != last.Code {
		t.Errorf("the order's codes: %+v, %v", now.Items, err)
	}
	// The seats that went back are somebody else's now, with codes of their own.
	_, again := h.fulfilled(0)
	h.result(keys, checkout.ScanAdmitted, checkout.Scan{Code: again[0].Code})
	h.work()
	h.checkInvariants()
}

// TestExchangedTicketsHaveNewCodes, a ticket that comes back to its order too.
func TestExchangedTicketsHaveNewCodes(t *testing.T) {
	t.Parallel()
	h, keys := newHouse(t), pass.Generate()
	o, list := h.fulfilled(1, 2)
	exchange := func(from, to int) (code string) {
		t.Helper()
		now, err := h.Exchange(t.Context(), nil, checkout.ExchangeRequest{
			Order: o.ID, Tickets: []string{h.layout.Seats[from].ID}, To: []string{h.layout.Seats[to].ID}, Actor: "test",
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range now.Items {
			if now.Items[i].Ordinal == to {
				code = now.Items[i].Code
			}
		}
		return code
	}
	other := exchange(1, 3)
	h.result(keys, checkout.ScanExchanged, checkout.Scan{Code: list[0].Code})
	back := exchange(3, 1)
	h.result(keys, checkout.ScanExchanged, checkout.Scan{Code: other})
	h.result(keys, checkout.ScanExchanged, checkout.Scan{Code: list[0].Code})
	now, err := h.Admissions(t.Context(), o.ID)
	if err != nil || len(now) != 3 || now[0].Code != back || now[1].Code != list[1].Code || now[2].EndReason != checkout.EndExchanged {
		t.Errorf("admissions: %+v, %v", now, err)
	}
	h.result(keys, checkout.ScanAdmitted, checkout.Scan{Code: back})
	h.result(keys, checkout.ScanAdmitted, checkout.Scan{Code: list[1].Code})
	h.work()
	h.checkInvariants()
}

// TestTransferEndsTheOldCode, once for all who ask at the same time.
func TestTransferEndsTheOldCode(t *testing.T) {
	t.Parallel()
	h, keys := newHouse(t), pass.Generate()
	ctx := t.Context()
	o, list := h.fulfilled(0, 1)
	first := list[0]
	ids := make([]string, 8)
	for _, err := range together(len(ids), func(i int) error {
		a, err := h.Transfer(context.Background(), first.ID, friend)
		ids[i] = a.ID
		return err
	}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if slices.Sort(ids); ids[0] != ids[len(ids)-1] || ids[0] == first.ID {
		t.Fatalf("passed on to %v", ids)
	}
	second, err := h.Admission(ctx, ids[0])
	if err != nil || second.Holder != friend || second.Previous != first.ID || second.Ticket != first.Ticket || second.Code == first.Code ||
		string(second.Secret) == string(first.Secret) || !second.Live() {
		t.Fatalf("new admission: %+v, %v", second, err)
	}
	if now, err := h.Admission(ctx, first.ID); err != nil || now.EndReason != checkout.EndTransferred || now.Next == nil || *now.Next != friend {
		t.Errorf("old admission: %+v, %v", now, err)
	}
	if now, err := h.Order(ctx, o.ID); err != nil || now.Items[0].Code != second.Code || now.Items[1].Code != list[1].Code {
		t.Errorf("the order's codes: %+v, %v", now.Items, err)
	}
	for _, code := range []string{signed(t, keys, &first), first.Code} {
		h.result(keys, checkout.ScanTransferred, checkout.Scan{Code: code})
	}
	third := checkout.Buyer{Name: "Third", Email: "third@example.org"}
	if _, err := h.Transfer(ctx, first.ID, third); !fault.Is(err, fault.Conflict) {
		t.Errorf("passed on twice: %v", err)
	}
	last, err := h.Transfer(ctx, second.ID, third)
	if err != nil || last.Holder != third {
		t.Fatalf("passed on by the new holder: %+v, %v", last, err)
	}
	// The first answer is still the same.
	if again, err := h.Transfer(ctx, first.ID, friend); err != nil || again.ID != second.ID {
		t.Errorf("asked again: %+v, %v", again, err)
	}
	h.result(keys, checkout.ScanAdmitted, checkout.Scan{Code: last.Code})
	if _, err := h.Transfer(ctx, last.ID, friend); !fault.Is(err, fault.Conflict) {
		t.Errorf("passed on after the scan: %v", err)
	}
	if _, err := h.Transfer(ctx, uuid.NewString(), friend); !fault.Is(err, fault.NotFound) {
		t.Errorf("an unknown ticket: %v", err)
	}
	if _, err := h.Transfer(ctx, list[1].ID, checkout.Buyer{Name: "X", Email: "nobody"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("nobody's address: %v", err)
	}
	if _, err := h.RefundOrder(ctx, nil, checkout.RefundRequest{Order: o.ID, Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Transfer(ctx, list[1].ID, friend); !fault.Is(err, fault.Conflict) {
		t.Errorf("passed on after the refund: %v", err)
	}
	h.work()
	h.checkInvariants()
}

// TestTransferAgainstScan: the ticket is passed on or used, never both.
func TestTransferAgainstScan(t *testing.T) {
	t.Parallel()
	h, keys := newHouse(t), pass.Generate()
	for round := range 8 {
		_, list := h.fulfilled(2 * round)
		var got checkout.Result
		errs := together(2, func(i int) error {
			if i == 0 {
				_, err := h.Transfer(context.Background(), list[0].ID, friend)
				return err
			}
			r, err := h.Scan(context.Background(), keys, []checkout.Scan{{Code: list[0].Code, By: "test", At: time.Now()}})
			if err == nil {
				got = r[0].Result
			}
			return err
		})
		moved := errs[0] == nil
		if errs[1] != nil || !moved && !fault.Is(errs[0], fault.Conflict) || moved != (got == checkout.ScanTransferred) || moved == (got == checkout.ScanAdmitted) {
			t.Errorf("passed on %v, scan %s, %v", errs[0], got, errs[1])
		}
	}
}

func TestWhatTheDoorIsTold(t *testing.T) {
	t.Parallel()
	h, keys := newHouse(t), pass.Generate()
	_, list := h.fulfilled(0, 1, 2)
	a := &list[0]
	text := signed(t, keys, a)
	forged := signed(t, pass.Generate(), a)
	mixed := *a
	mixed.Ticket = list[1].Ticket
	for _, code := range []string{"nonsense", forged, tickets.NewCode(), signed(t, keys, &mixed), text + ".1234567"} {
		if got := h.result(keys, checkout.ScanNotValid, checkout.Scan{Code: code}); got.Admission != nil {
			t.Errorf("%q tells of %+v", code, got.Admission)
		}
	}
	if got := h.result(keys, checkout.ScanWrongEvent, checkout.Scan{Code: text, Event: uuid.NewString()}); got.Admission != nil {
		t.Errorf("another event's door hears of %+v", got.Admission)
	}
	h.result(keys, checkout.ScanStale, checkout.Scan{Code: tickets.Rotate(text, a.Secret, time.Now().Add(-time.Minute))})
	h.result(keys, checkout.ScanStale, checkout.Scan{Code: tickets.Rotate(text, list[1].Secret, time.Now())})
	h.exec(`update events set rotating_codes = true where id = $1`, h.event)
	for _, code := range []string{text, a.Code} {
		h.result(keys, checkout.ScanRotating, checkout.Scan{Code: code})
	}
	now := time.Now()
	got := h.result(keys, checkout.ScanAdmitted, checkout.Scan{Code: tickets.Rotate(text, a.Secret, now), Event: h.event, At: now, ID: "scan 1", Gate: "North"})
	if got.Admission.ID != a.ID || got.Admission.Scanned == nil || got.Admission.Gate != "North" {
		t.Errorf("admitted: %+v", got.Admission)
	}
	// The answer was lost: the same scan again is no second one.
	h.result(keys, checkout.ScanAdmitted, checkout.Scan{Code: text, ID: "scan 1", Gate: "North"})
	h.result(keys, checkout.ScanAgain, checkout.Scan{Code: text, ID: "scan 2", Gate: "North"})
	h.result(keys, checkout.ScanAdmitted, checkout.Scan{Code: list[1].Code, Manual: true})
	h.exec(`update events set status = 'cancelled' where id = $1`, h.event)
	h.result(keys, checkout.ScanCancelled, checkout.Scan{Code: list[2].Code})
	if _, err := h.Transfer(t.Context(), list[2].ID, friend); !fault.Is(err, fault.Conflict) {
		t.Errorf("passed on for a cancelled event: %v", err)
	}
}

// TestOfflineScansAreReconciled: the earliest scan of a batch counts, unless the
// ticket was used, passed on or refunded before the upload.
func TestOfflineScansAreReconciled(t *testing.T) {
	t.Parallel()
	h, keys := newHouse(t), pass.Generate()
	o, list := h.fulfilled(0, 1, 2)
	now := time.Now()
	at := func(minutes int) time.Time { return now.Add(time.Duration(minutes) * time.Minute) }
	h.exec(`update admissions set issued_at = $2 where order_id = $1`, o.ID, at(-600))
	h.result(keys, checkout.ScanAdmitted, checkout.Scan{Code: list[1].Code, Gate: "online"})
	if _, err := h.Transfer(t.Context(), list[2].ID, friend); err != nil {
		t.Fatal(err)
	}
	batch := func() []checkout.Scan {
		return []checkout.Scan{
			{Code: list[0].Code, ID: "late", At: at(-10), Recorded: true, Gate: "B"},
			{Code: list[0].Code, ID: "early", At: at(-20), Recorded: true, Gate: "A"},
			{Code: list[1].Code, ID: "used", At: at(-5), Recorded: true, Gate: "A"},
			{Code: list[2].Code, ID: "gone", At: at(-15), Recorded: true, Gate: "A"},
			{Code: "nonsense", ID: "nonsense", At: at(-1), Recorded: true, Gate: "A"},
		}
	}
	want := []checkout.Result{checkout.ScanAgain, checkout.ScanAdmitted, checkout.ScanAgain, checkout.ScanTransferred, checkout.ScanNotValid}
	for upload := range 3 { // what was lost is sent again
		got := h.shown(keys, batch()...)
		for i := range got {
			if got[i].Result != want[i] {
				t.Errorf("upload %d, scan %d: %s, want %s", upload, i, got[i].Result, want[i])
			}
		}
		first := got[0].Admission
		if first.Gate != "A" || first.ScanID != "early" || first.Scanned.Sub(at(-20)).Abs() > time.Millisecond {
			t.Errorf("upload %d: %+v", upload, first)
		}
	}
	// Two scanners that were at the same gates upload at once.
	_, more := h.fulfilled(20, 21, 22, 23)
	results := make([][]checkout.Scanned, 8)
	for _, err := range together(len(results), func(i int) (err error) {
		var scans []checkout.Scan
		for k := range more {
			a := more[(k+i)%len(more)]
			scans = append(scans, checkout.Scan{Code: a.Code, ID: fmt.Sprint(i, k), By: "test", At: now, Recorded: true})
		}
		results[i], err = h.Scan(context.Background(), keys, scans)
		return err
	}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	admitted := 0
	for _, list := range results {
		for _, r := range list {
			if r.Result == checkout.ScanAdmitted {
				admitted++
			}
		}
	}
	if admitted != len(more) {
		t.Errorf("%d of %d were let in", admitted, len(more))
	}
	if _, err := h.Scan(t.Context(), keys, make([]checkout.Scan, checkout.MostScans+1)); !fault.Is(err, fault.Invalid) {
		t.Errorf("too many: %v", err)
	}
}

// TestListForScanners has everything there is, and another version after every
// change.
func TestListForScanners(t *testing.T) {
	t.Parallel()
	h, keys := newHouse(t), pass.Generate()
	last := ""
	read := func(want int) {
		t.Helper()
		version, n := "", 0
		err := h.EachAdmission(t.Context(), h.event, func(v string) bool { version = v; return v != last }, func(*checkout.Admission) error { n++; return nil })
		if err != nil || version == last || n != want {
			t.Errorf("version %q after %q: %d of %d, %v", version, last, n, want, err)
		}
		last = version
	}
	read(0)
	o, list := h.fulfilled(0, 1)
	read(2)
	h.result(keys, checkout.ScanAdmitted, checkout.Scan{Code: list[0].Code})
	read(2)
	if _, err := h.Transfer(t.Context(), list[1].ID, friend); err != nil {
		t.Fatal(err)
	}
	read(3)
	if _, err := h.RefundOrder(t.Context(), nil, checkout.RefundRequest{Order: o.ID, Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	read(3)
	err := h.EachAdmission(t.Context(), h.event, func(v string) bool { return v != last }, func(*checkout.Admission) error { return errors.New("read again") })
	if err != nil {
		t.Error(err)
	}
	stop := errors.New("stop")
	if err := h.EachAdmission(t.Context(), h.event, func(string) bool { return true }, func(*checkout.Admission) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("stopped: %v", err)
	}
	if err := h.EachAdmission(t.Context(), uuid.NewString(), func(string) bool { return true }, nil); !fault.Is(err, fault.NotFound) {
		t.Errorf("an unknown event: %v", err)
	}
}

// TestImpossibleAdmissions are refused by the database itself.
func TestImpossibleAdmissions(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	_, list := h.fulfilled(0)
	id := list[0].ID
	scan := `scanned_at = now() + interval '1 s', scanned_by = 'x', scanned_gate = '', scan_id = 'x'`
	for what, sql := range map[string]string{
		"ended without a reason":  `update admissions set ended_at = now() + interval '1 s' where id = $1`,
		"ended before its issue":  `update admissions set ended_at = issued_at - interval '1 s', end_reason = 'refunded' where id = $1`,
		"scanned by nobody":       `update admissions set scanned_at = now() + interval '1 s' where id = $1`,
		"scanned after its end":   `update admissions set ended_at = issued_at, end_reason = 'refunded', ` + scan + ` where id = $1`,
		"scanned and passed on":   `update admissions set ended_at = now() + interval '2 s', end_reason = 'transferred', ` + scan + ` where id = $1`,
		"another live code":       `insert into admissions (id, order_id, ticket_id, event_id, previous_id, code, holder_name, holder_email, secret) select gen_random_uuid(), order_id, ticket_id, event_id, id, '0000-0000-0000-0000', 'x', 'x', secret from admissions where id = $1`,
		"a code of another shape": `update admissions set code = 'x' where id = $1`,
		"a secret that is none":   `update admissions set secret = '' where id = $1`,
		"an end of another kind":  `update admissions set ended_at = now() + interval '1 s', end_reason = 'lost' where id = $1`,
	} {
		if _, err := h.db.Exec(t.Context(), sql, id); err == nil {
			t.Errorf("%s: the database takes it", what)
		}
	}
	h.exec(`update admissions set `+scan+` where id = $1`, id) // the good ones are good
	if a, err := h.Admission(t.Context(), id); err != nil || a.Live() || a.Scanned == nil {
		t.Errorf("%+v, %v", a, err)
	}
}
