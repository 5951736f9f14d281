package web_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net"
	stdmail "net/mail"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"onsale/checkout/mail"
)

// postOffice is a mail server on a socket, which keeps what it gets.
type postOffice struct {
	mu  sync.Mutex
	got []posted
}

type posted struct {
	to, raw string
}

func newPostOffice(t *testing.T) (*postOffice, mail.Sender) {
	t.Helper()
	p := &postOffice{}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &delivering{office: p}, nil }))
	server.Domain = "mail.test"
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(listener) }()
	t.Cleanup(func() {
		_ = listener.Close()
		_ = server.Close()
		<-ended
	})
	sender, err := mail.Open(mail.Settings{URL: "smtp://" + listener.Addr().String() + "?tls=none", From: "Tickets <tickets@shop.example>"})
	must(t, err)
	return p, sender
}

type delivering struct {
	office *postOffice
	to     string
}

func (*delivering) Mail(string, *smtp.MailOptions) error { return nil }
func (*delivering) Reset()                               {}
func (*delivering) Logout() error                        { return nil }

func (d *delivering) Rcpt(to string, _ *smtp.RcptOptions) error {
	d.to = to
	return nil
}

func (d *delivering) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	d.office.mu.Lock()
	defer d.office.mu.Unlock()
	d.office.got = append(d.office.got, posted{d.to, string(raw)})
	return nil
}

func (p *postOffice) mails() []posted {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got)
}

// read is an e-mail as its reader gets it: subject, text and what is attached, by type.
func (m posted) read(t *testing.T) (subject, text string, files map[string][]byte) {
	t.Helper()
	parsed, err := stdmail.ReadMessage(strings.NewReader(m.raw))
	must(t, err)
	subject, err = new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
	must(t, err)
	files = map[string][]byte{}
	var walk func(kind string, r io.Reader)
	walk = func(header string, r io.Reader) {
		kind, params, err := mime.ParseMediaType(header)
		must(t, err)
		if !strings.HasPrefix(kind, "multipart/") {
			return
		}
		for parts := multipart.NewReader(r, params["boundary"]); ; {
			part, err := parts.NextPart()
			if errors.Is(err, io.EOF) {
				return
			}
			must(t, err)
			kind, _, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
			must(t, err)
			if strings.HasPrefix(kind, "multipart/") {
				walk(part.Header.Get("Content-Type"), part)
				continue
			}
			var content io.Reader = part // quoted-printable is read by multipart
			if part.Header.Get("Content-Transfer-Encoding") == "base64" {
				content = base64.NewDecoder(base64.StdEncoding, part)
			}
			raw, err := io.ReadAll(content)
			must(t, err)
			if kind == "text/plain" {
				text = strings.ReplaceAll(string(raw), "\r\n", "\n")
			} else {
				files[kind] = raw
			}
		}
	}
	walk(parsed.Header.Get("Content-Type"), parsed.Body)
	return subject, text, files
}

// pdfOf tells that a PDF has so many pages.
func pdfOf(pages string, raw []byte) bool {
	return bytes.HasPrefix(raw, []byte("%PDF-")) && bytes.Contains(raw, []byte("/Count "+pages+"\n"))
}

// Buyers get their tickets as PDF, a page each, and a link; who a ticket is passed on
// to gets the link of that ticket, and nobody else does.
func TestTicketsComeByMail(t *testing.T) {
	t.Parallel()
	office, sender := newPostOffice(t)
	s := newStage(t, stageOptions{messages: soon(), mail: sender})
	o, list := s.soldTickets(0, 1, 2)
	got := eventually(t, "it is confirmed", office.mails, func(m []posted) bool { return len(m) == 1 })
	_, text, files := got[0].read(t)
	if !pdfOf("3", files["application/pdf"]) || got[0].to != "ada@buyers.example" {
		t.Errorf("to %s: %.30q\n%s", got[0].to, files["application/pdf"], text)
	}
	if same := s.get("/v1/orders/"+o.Order+"/tickets.pdf", bearing(o.Token)).ok(200, nil); !bytes.Equal(same.body, files["application/pdf"]) {
		t.Error("the PDF is not that of the page")
	}
	if !strings.Contains(text, "The tickets are attached") || !strings.Contains(text, "https://tickets.example/orders/"+o.Order+"#t=") {
		t.Errorf("text: %s", text)
	}

	var passed struct{ Mailed bool }
	s.post("/v1/orders/"+o.Order+"/tickets/"+list[1].Ticket+"/transfer", `{"name":"Grace","email":"grace@friends.example"}`, bearing(o.Token)).ok(200, &passed)
	if !passed.Mailed {
		t.Error("it is not said that the new holder is told")
	}
	got = eventually(t, "the new holder is told", office.mails, func(m []posted) bool { return len(m) == 2 })
	subject, text, files := got[1].read(t)
	if got[1].to != "grace@friends.example" || !strings.Contains(subject, "Ada Example has passed a ticket on to you") || files["application/pdf"] != nil ||
		!strings.Contains(text, "Hello Grace") || !strings.Contains(text, "seat 2") || strings.Contains(got[1].raw, o.Order) || strings.Contains(got[1].raw, "ada@buyers") {
		t.Errorf("to %s: %s\n%s", got[1].to, subject, text)
	}
	_, link, _ := strings.Cut(text, "https://tickets.example/t/")
	admission, token, _ := strings.Cut(link, "#t=")
	token, _, _ = strings.Cut(token, "\n")
	var held heldTicket
	s.get("/v1/admissions/"+admission, bearing(token)).ok(200, &held)
	if held.Holder.Name != "Grace" || !held.Valid || held.Ticket != list[1].Ticket {
		t.Errorf("the link opens %+v", held)
	}
	// The ticket is not among the buyer's any more.
	s.post("/v1/orders/"+o.Order+"/email", "", bearing(o.Token)).ok(202, nil)
	got = eventually(t, "it is sent again", office.mails, func(m []posted) bool { return len(m) == 3 })
	if _, _, files = got[2].read(t); !pdfOf("2", files["application/pdf"]) {
		t.Errorf("again: %.30q", files["application/pdf"])
	}
	s.post("/v1/admissions/"+admission+"/transfer", `{"name":"Nobody","email":"x@y.invalid"}`, bearing(token)).ok(200, &passed)
	if passed.Mailed {
		t.Error("it is said that nobody is told")
	}
	for i := range list {
		s.scans(map[bool]string{true: "transferred", false: "admitted"}[i == 1], list[i].Code)
	}
	if n := query[int](s, `select count(*) from emails`); n != 3 {
		t.Errorf("%d e-mails", n)
	}
}

// An exchange is confirmed with the new seat's ticket, and the lines of the e-mail are
// those of the tickets the buyer has now.
func TestExchangedSeatsComeByMail(t *testing.T) {
	t.Parallel()
	box := &mailbox{}
	s := newStage(t, stageOptions{messages: soon(), mail: box})
	o, list := s.soldTickets(0, 1)
	eventually(t, "it is confirmed", box.mails, func(m []mail.Message) bool { return len(m) == 1 })
	s.post("/v1/admin/orders/"+o.Order+"/exchange", `{"tickets":["`+list[0].Ticket+`"],"to":["`+s.tickets[20]+`"],"reason":"view"}`, asOperator).ok(200, nil)
	mails := eventually(t, "it is confirmed again, and money goes back", box.mails, func(m []mail.Message) bool { return len(m) == 3 })
	for _, m := range mails[1:] {
		if strings.HasPrefix(m.Subject, "Refund") {
			if !strings.Contains(m.Text, "20.00 EUR of your order goes back") {
				t.Errorf("refund: %s", m.Text)
			}
			continue
		}
		if !strings.Contains(m.Text, "Balcony, row A, seat 1: 25.00 EUR") || strings.Contains(m.Text, "Stalls, row A, seat 1") ||
			!strings.Contains(m.Text, "Total: 70.00 EUR") || len(m.Files) != 1 || !pdfOf("2", m.Files[0].Content) {
			t.Errorf("confirmation: %s", m.Text)
		}
	}
}

// Other systems hear of people who were let in, once for each ticket.
func TestScansAreAnnounced(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{messages: soon()})
	r := newReceiver(t)
	s.listen(r, "ticket.scanned")
	o, list := s.soldTickets(0, 1)
	s.scans("admitted", list[0].Code, `,"gate":"North"`)
	s.scans("already_scanned", list[0].Code)
	s.post("/v1/admin/scan/batch", `{"scans":[{"id":"1","code":"`+list[1].Code+`","scanned_at":"`+time.Now().UTC().Format(time.RFC3339)+`"}]}`, asOperator).ok(200, nil)
	eventually(t, "both are told", func() int { return r.count("ticket.scanned", o.Order) }, func(n int) bool { return n == 2 })
	for _, m := range r.got() {
		if strings.Contains(m.raw, "Ada") || strings.Contains(m.raw, list[0].Code) || strings.Contains(m.raw, list[1].Code) {
			t.Errorf("told: %s", m.raw)
		}
	}
}
