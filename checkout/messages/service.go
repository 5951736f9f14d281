package messages

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"onsale/checkout"
	"onsale/checkout/mail"
	"onsale/checkout/webhook"
	"onsale/internal/fault"
)

// What is tried how often. The waits are those that the Standard Webhooks
// specification recommends: about three days in all.
var (
	webhookWaits = []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
		10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
	// A day: mail servers are away for hours at times, and a ticket that comes days
	// later has been asked for by then.
	mailWaits = []time.Duration{
		10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 8 * time.Hour,
	}
)

const (
	// deliveryLease and mailLease outlast the longest attempt: what was not recorded
	// by then has no worker any more.
	deliveryLease = time.Minute
	mailLease     = 2 * time.Minute
	// recordLimit is for writing down what was done, whatever became of the job.
	recordLimit = 5 * time.Second
	// RotateFor is how long a secret that was replaced signs beside the new one.
	RotateFor = 24 * time.Hour

	mostEndpoints = 50
	mostReplayed  = 10_000
	mostNote      = 500 // characters
	mostError     = 500 // bytes kept of an error
	// mostAgain and againWithin bound how often a buyer has the confirmation sent.
	mostAgain   = 3
	againWithin = time.Hour

	sweepAge = 10 * time.Minute
	keptFor  = 90 * 24 * time.Hour
)

// Options change what tests cannot wait for.
type Options struct {
	WebhookWaits, MailWaits  []time.Duration // after the first attempt, the second …
	DeliveryLease, MailLease time.Duration
}

// Deps is what a Service is made of.
type Deps struct {
	Store     Store
	Orders    Orders
	Events    Events
	Courier   Courier
	Mail      mail.Sender // nil: no mail server is set
	Templates *mail.Templates
	Attacher  Attacher // nil: nothing is attached
	// Link is where the buyer of an order sees it, with the order's token.
	Link func(o checkout.Order) string
	// HolderLink is where the holder of a ticket sees it, with the ticket's token.
	HolderLink func(a *checkout.Admission) string
	Code       func(id string) string // what a code that signs in says; nil: nobody signs in
	Clock      func() time.Time
	Logger     *slog.Logger
	Options    Options
}

// Service carries messages. It is safe for concurrent use.
type Service struct {
	Deps
}

// New returns a Service. It does no I/O.
func New(d Deps) (*Service, error) {
	if d.Store == nil || d.Orders == nil || d.Events == nil || d.Courier == nil || d.Templates == nil || d.Link == nil || d.HolderLink == nil || d.Clock == nil || d.Logger == nil {
		return nil, errors.New("messages: Store, Orders, Events, Courier, Templates, Link, HolderLink, Clock and Logger are required")
	}
	o := &d.Options
	if o.WebhookWaits == nil {
		o.WebhookWaits = webhookWaits
	}
	if o.MailWaits == nil {
		o.MailWaits = mailWaits
	}
	if o.DeliveryLease == 0 {
		o.DeliveryLease = deliveryLease
	}
	if o.MailLease == 0 {
		o.MailLease = mailLease
	}
	return &Service{Deps: d}, nil
}

// Announce gives an announcement to everybody who wants it. It is the work of a job,
// as are Deliver, SendEmail and Sweep: each may be run any number of times.
func (s *Service) Announce(ctx context.Context, announcement string) error {
	return s.Store.FanOut(ctx, announcement)
}

// Sweep finds what no job looks after any more, and forgets what is old.
func (s *Service) Sweep(ctx context.Context) error {
	lost, err := s.Store.Sweep(ctx, sweepAge)
	if lost > 0 {
		s.Logger.WarnContext(ctx, "messages without a job were found and go on", slog.Int("messages", lost))
	}
	return errors.Join(err, s.Store.Forget(ctx, keptFor))
}

// Body is a webhook as it is sent. It is the same whenever it is made.
func Body(a Announcement) ([]byte, error) {
	return json.Marshal(struct {
		Type      Type            `json:"type"`
		Timestamp time.Time       `json:"timestamp"` // of the change
		Data      json.RawMessage `json:"data"`
	}{a.Type, a.At.UTC(), a.Payload})
}

// Deliver makes one attempt at a delivery. later asks for a further look.
func (s *Service) Deliver(ctx context.Context, id string) (later time.Duration, err error) {
	a, later, err := s.Store.TakeDelivery(ctx, id, s.Options.DeliveryLease)
	if err != nil || a == nil {
		return later, err
	}
	var o DeliveryOutcome
	if !a.Endpoint.Active {
		o = DeliveryOutcome{Status: DeliveryFailed, Error: "the endpoint is switched off"}
	} else {
		answer, err := s.post(ctx, a.Announcement, a.Endpoint)
		o = s.judge(a.Number, answer, err)
	}
	record, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordLimit)
	defer cancel()
	if err := s.Store.DeliveryDone(record, a, o); err != nil {
		return 0, err
	}
	if o.Status == DeliveryFailed {
		s.Logger.WarnContext(ctx, "a webhook was given up; it can be replayed", slog.String("webhook", a.Endpoint.ID), slog.String("delivery", id),
			slog.String("type", string(a.Announcement.Type)), slog.Int("attempts", a.Number), slog.String("error", o.Error))
	}
	return o.Wait, nil
}

// judge decides what follows from an answer.
func (s *Service) judge(attempt int, answer webhook.Answer, err error) DeliveryOutcome {
	o := DeliveryOutcome{Answer: answer.Status}
	switch {
	case err != nil:
		o.Error = clip(err.Error())
	case answer.OK():
		o.Status = DeliveryDelivered
		return o
	case answer.Gone():
		o.Status, o.Gone, o.Error = DeliveryFailed, true, "the endpoint is gone (410) and was switched off"
		return o
	case answer.Status >= 300 && answer.Status < 400:
		o.Error = fmt.Sprintf("a redirect (%d), which is not followed", answer.Status)
	default:
		o.Error = fmt.Sprintf("the answer was %d", answer.Status)
	}
	if attempt > len(s.Options.WebhookWaits) {
		o.Status = DeliveryFailed
		return o
	}
	o.Status, o.Wait = DeliveryPending, max(jitter(s.Options.WebhookWaits[attempt-1]), answer.Wait)
	return o
}

func (s *Service) post(ctx context.Context, a Announcement, e Endpoint) (webhook.Answer, error) {
	body, err := Body(a)
	if err != nil {
		return webhook.Answer{}, err
	}
	return s.Courier.Post(ctx, webhook.Message{ID: a.ID, URL: e.URL, At: s.Clock(), Body: body, Secrets: e.Secrets})
}

// jitter adds up to a tenth, so that what failed together is not tried together.
func jitter(wait time.Duration) time.Duration {
	return wait + time.Duration(rand.Int64N(int64(wait)/10+1))
}

func clip(text string) string {
	if len(text) > mostError {
		text = text[:mostError] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, ""))
}

// Endpoints lists all endpoints, without their secrets.
func (s *Service) Endpoints(ctx context.Context) ([]Endpoint, error) { return s.Store.Endpoints(ctx) }

// Endpoint finds one.
func (s *Service) Endpoint(ctx context.Context, id string) (Endpoint, error) {
	return s.Store.Endpoint(ctx, id)
}

// CheckEndpoint refuses, before anything is done, what cannot be an endpoint. Nil
// fields are not looked at.
func (s *Service) CheckEndpoint(p EndpointPatch) error {
	if p.URL != nil {
		if err := s.Courier.Check(*p.URL); err != nil {
			return fault.New(fault.Invalid, "url: %v", err)
		}
	}
	if p.Types != nil {
		for i, t := range *p.Types {
			switch {
			case !slices.Contains(Types, t):
				return fault.New(fault.Invalid, "types[%d]: %q is not one of %s", i, clip(string(t[:min(len(t), 64)])), typeNames())
			case slices.Contains((*p.Types)[:i], t):
				return fault.New(fault.Invalid, "types[%d]: %q is there twice", i, t)
			}
		}
	}
	if p.Note != nil && (utf8.RuneCountInString(*p.Note) > mostNote || !utf8.ValidString(*p.Note) || strings.ContainsFunc(*p.Note, func(r rune) bool { return r < 0x20 || r == 0x7f })) {
		return fault.New(fault.Invalid, "note must have at most %d characters, and none that control", mostNote)
	}
	return nil
}

func typeNames() string {
	names := make([]string, len(Types))
	for i, t := range Types {
		names[i] = string(t)
	}
	return strings.Join(names, ", ")
}

// CreateEndpoint adds an endpoint and makes its secret, which is in the result.
func (s *Service) CreateEndpoint(ctx context.Context, url string, types []Type, note string) (Endpoint, error) {
	if err := s.CheckEndpoint(EndpointPatch{URL: &url, Types: &types, Note: &note}); err != nil {
		return Endpoint{}, err
	}
	if types == nil {
		types = []Type{}
	}
	return s.Store.CreateEndpoint(ctx, Endpoint{URL: url, Types: types, Note: note, Secrets: []webhook.Secret{webhook.NewSecret()}}, mostEndpoints)
}

// UpdateEndpoint changes an endpoint. With rotate it has a new secret, which is in the
// result; the one before signs beside it for RotateFor.
func (s *Service) UpdateEndpoint(ctx context.Context, id string, p EndpointPatch, rotate bool) (Endpoint, error) {
	if err := s.CheckEndpoint(p); err != nil {
		return Endpoint{}, err
	}
	if rotate {
		p.Secret = webhook.NewSecret()
	}
	return s.Store.UpdateEndpoint(ctx, id, p)
}

// DeleteEndpoint removes an endpoint with its deliveries.
func (s *Service) DeleteEndpoint(ctx context.Context, id string) error {
	return s.Store.DeleteEndpoint(ctx, id)
}

// Trial is what became of a test.
type Trial struct {
	Message string `json:"message"` // the webhook-id
	OK      bool   `json:"ok"`
	Status  *int   `json:"status"` // of HTTP; null: there was no answer
	Error   string `json:"error"`
	Took    int64  `json:"took_ms"`
}

// Test sends a message to an endpoint at once, and once.
func (s *Service) Test(ctx context.Context, endpoint, message string) (Trial, error) {
	e, err := s.Store.Endpoint(ctx, endpoint)
	if err != nil {
		return Trial{}, err
	}
	payload, err := json.Marshal(map[string]string{"webhook": e.ID})
	if err != nil {
		return Trial{}, err
	}
	began := s.Clock()
	answer, err := s.post(ctx, Announcement{ID: message, Type: WebhookTest, Subject: e.ID, Payload: payload, At: began}, e)
	t := Trial{Message: message, OK: err == nil && answer.OK(), Took: s.Clock().Sub(began).Milliseconds()}
	if answer.Status != 0 {
		t.Status = &answer.Status
	}
	if !t.OK {
		t.Error = s.judge(1, answer, err).Error
	}
	return t, nil
}

// Deliveries lists the deliveries of an endpoint, newest first.
func (s *Service) Deliveries(ctx context.Context, q DeliveryQuery) ([]Delivery, string, error) {
	return s.Store.Deliveries(ctx, q)
}

// Delivery finds one.
func (s *Service) Delivery(ctx context.Context, id string) (Delivery, error) {
	return s.Store.Delivery(ctx, id)
}

// Replay has a delivery tried again.
func (s *Service) Replay(ctx context.Context, id string) (Delivery, error) {
	return s.Store.Replay(ctx, id)
}

// CheckRange refuses what cannot be a range.
func (s *Service) CheckRange(r Range) error {
	switch {
	case r.From.IsZero():
		return fault.New(fault.Invalid, "from is missing: a time such as 2027-03-01T19:00:00Z")
	case r.To.IsZero():
		return fault.New(fault.Invalid, "to is missing: a time such as 2027-03-01T20:00:00Z")
	case !r.From.Before(r.To):
		return fault.New(fault.Invalid, "from must be before to")
	}
	return nil
}

// ReplayRange has an endpoint told again what happened within a time.
func (s *Service) ReplayRange(ctx context.Context, endpoint string, r Range) (int, error) {
	if err := s.CheckRange(r); err != nil {
		return 0, err
	}
	return s.Store.ReplayRange(ctx, endpoint, r, mostReplayed)
}

// CountRange is how many messages ReplayRange would send now.
func (s *Service) CountRange(ctx context.Context, endpoint string, r Range) (int, error) {
	if err := s.CheckRange(r); err != nil {
		return 0, err
	}
	return s.Store.CountRange(ctx, endpoint, r, mostReplayed)
}

// Emails lists e-mails, newest first.
func (s *Service) Emails(ctx context.Context, q EmailQuery) ([]Email, string, error) {
	return s.Store.Emails(ctx, q)
}

// Email finds one.
func (s *Service) Email(ctx context.Context, id string) (Email, error) { return s.Store.Email(ctx, id) }

// Resend sends an e-mail again.
func (s *Service) Resend(ctx context.Context, id string) (Email, error) {
	return s.Store.Resend(ctx, id)
}

// ConfirmAgain sends a buyer the confirmation of their order again.
func (s *Service) ConfirmAgain(ctx context.Context, order string) (Email, error) {
	return s.Store.Confirm(ctx, order, mostAgain, againWithin)
}

// SendEmail makes one attempt at an e-mail. later asks for a further look.
//
// Between the mail server's 250 and EmailDone lies the one moment at which a crash
// makes an e-mail go out twice; both then carry the same Message-ID.
func (s *Service) SendEmail(ctx context.Context, id string) (later time.Duration, err error) {
	e, later, err := s.Store.TakeEmail(ctx, id, s.Options.MailLease)
	if err != nil || e == nil {
		return later, err
	}
	o := s.send(ctx, e)
	record, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordLimit)
	defer cancel()
	if err := s.Store.EmailDone(record, e, o); err != nil {
		return 0, err
	}
	if o.Status == EmailFailed {
		// Whom it is for stands in the record; logs are read by more people.
		s.Logger.WarnContext(ctx, "an e-mail was given up; it can be sent again", slog.String("email", e.ID),
			slog.String("kind", string(e.Kind)), slog.Int("attempts", e.Attempts))
	}
	return o.Wait, nil
}

func (s *Service) send(ctx context.Context, e *Email) EmailOutcome {
	if s.Mail == nil {
		return EmailOutcome{Status: EmailSkipped, Error: "no mail server is set (mail.smtp_url)"}
	}
	m, needless, err := s.compose(ctx, e)
	if err == nil && needless != "" {
		return EmailOutcome{Status: EmailSkipped, Error: needless}
	}
	if err == nil {
		err = s.Mail.Send(ctx, m)
	}
	refused, final := errors.AsType[*mail.Refused](err)
	switch {
	case err == nil:
		return EmailOutcome{Status: EmailSent}
	case final:
		return EmailOutcome{Status: EmailFailed, Error: clip(refused.Error())}
	case e.Attempts > len(s.Options.MailWaits):
		return EmailOutcome{Status: EmailFailed, Error: clip(err.Error())}
	}
	return EmailOutcome{Status: EmailPending, Error: clip(err.Error()), Wait: jitter(s.Options.MailWaits[e.Attempts-1])}
}

// compose writes an e-mail. needless says why there is nothing to tell any more.
func (s *Service) compose(ctx context.Context, e *Email) (m mail.Message, needless string, err error) {
	var d Data
	if len(e.Data) > 0 {
		if err := json.NewDecoder(bytes.NewReader(e.Data)).Decode(&d); err != nil {
			return m, "", &mail.Refused{Text: "what the e-mail is to say cannot be read"}
		}
	}
	c := mail.Content{Name: d.Name, Sender: spoken(d.Sender)}
	if d.Expires != nil {
		c.Expires = *d.Expires
		if !c.Expires.After(s.Clock()) {
			return m, "its link has ended", nil
		}
	}
	if d.Amount != nil {
		c.Amount = *d.Amount
	}
	if e.Kind == mail.SignIn {
		if s.Code == nil || d.Code == "" {
			return m, "there is no code to send", nil
		}
		c.Code = s.Code(d.Code)
	}
	event := d.Event
	var files []mail.File
	if e.Order != nil {
		o, err := s.Orders.Order(ctx, *e.Order)
		if err != nil {
			return m, "", err
		}
		if e.Kind == mail.Confirmation && o.Status != checkout.Fulfilled && o.Status != checkout.PartiallyRefunded {
			return m, "the order is " + string(o.Status) + " by now", nil
		}
		c.Order = receipt(&o)
		c.Link, event = s.Link(o), o.Event
		if d.Name == "" {
			c.Name = o.Buyer.Name
		}
		if e.Kind == mail.Confirmation && s.Attacher != nil {
			if files, err = s.Attacher.Attachments(ctx, o); err != nil {
				return m, "", fmt.Errorf("the tickets to attach: %w", err)
			}
			c.Files = len(files)
		}
	}
	if d.Admission != "" {
		a, err := s.Orders.Admission(ctx, d.Admission)
		if err != nil {
			return m, "", err
		}
		if a.Ended != nil {
			return m, "the ticket was " + string(a.EndReason) + " by now", nil
		}
		c.Link = s.HolderLink(&a)
		c.Order.Items = []mail.Item{{Section: a.Section, Row: a.Row, Seat: a.Seat, Tier: a.Tier, Notes: notes(a.Attributes, a.Entrance)}}
	}
	c.Name = spoken(c.Name)
	if event != "" {
		of, err := s.Events.Event(ctx, event)
		if err != nil {
			return m, "", err
		}
		c.Off = of.Status == "cancelled"
		c.Event = mail.Event{Name: of.Name, Starts: of.StartsAt, Zone: of.Timezone, Venue: of.Venue.Name, Place: place(of.Venue.Address, of.Venue.City)}
		if of.DoorsAt != nil {
			c.Event.Doors = *of.DoorsAt
		}
		if e.Kind == mail.Reschedule {
			if c.Off {
				return m, "the event is cancelled by now", nil
			}
			c.Dated, c.Note = d.Dated || of.Status == "on_sale", d.Note
			if d.Was != nil {
				c.Was = *d.Was
			}
			if !c.Dated {
				c.Event.Starts, c.Event.Doors = time.Time{}, time.Time{}
			}
		}
	}
	if m, err = s.Templates.Write(e.Kind, d.Language, c); err != nil {
		return m, "", err
	}
	m.ID, m.To, m.Files, m.At = e.ID, mail.Address{Name: c.Name, Email: e.Recipient}, files, s.Clock()
	return m, "", nil
}

// spoken leaves out a name that is an address of the web, so that nobody has us send
// advertisements to somebody else.
func spoken(name string) string {
	if strings.ContainsAny(name, ":/@") || strings.Contains(strings.ToLower(name), "www.") {
		return ""
	}
	return name
}

func place(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), ", ")
}
