package mail_test

import (
	"flag"
	"io"
	stdmail "net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"onsale/catalog"
	"onsale/checkout/mail"
)

var update = flag.Bool("update", false, "rewrite the e-mails in testdata")

func templates(t testing.TB) *mail.Templates {
	t.Helper()
	all, err := mail.NewTemplates()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func eur(amount int64) catalog.Money { return catalog.Money{Amount: amount, Currency: "EUR"} }

var trio = mail.Event{
	Name: "Trio at the mill", Zone: "Europe/Berlin", Venue: "The mill", Place: "Mill Lane 1, Köln",
	Starts: time.Date(2031, 5, 1, 18, 0, 0, 0, time.UTC), Doors: time.Date(2031, 5, 1, 17, 0, 0, 0, time.UTC),
}

var twoSeats = mail.Order{
	ID: "0190b0a0-0000-7000-8000-000000000003", Total: eur(9700),
	Items: []mail.Item{
		{Section: "Stalls", Row: "A", Seat: "1", Tier: "Front row", Price: eur(4500), Notes: "restricted view; entrance: Door B"}, {Section: "Floor", Tier: "Floor", Price: eur(5000)},
	},
	Lines: []mail.Line{{Label: "SPRING", Amount: eur(-100)}},
	Fees:  []mail.Line{{Amount: eur(300)}},
	Taxes: []mail.Line{{Label: "VAT 7 %", Amount: eur(635)}},
}

// contents has every e-mail in its forms.
func contents() map[string]struct {
	kind mail.Kind
	what mail.Content
} {
	link := "https://tickets.example/orders/0190b0a0-0000-7000-8000-000000000003#t=token"
	expires := time.Date(2031, 4, 1, 10, 30, 0, 0, time.UTC)
	one := twoSeats
	one.Items, one.Lines, one.Fees, one.Taxes, one.Total = one.Items[:1], nil, nil, nil, eur(4815)
	one.TaxesOnTop = []mail.Line{{Label: "Sales tax 7 %", Amount: eur(315)}}
	part, none := twoSeats, twoSeats
	seat := mail.Order{Items: []mail.Item{{Section: "Stalls", Row: "A", Seat: "1", Tier: "Front row"}}}
	none.Items = slices.Clone(none.Items)
	none.Items[0].Returned, none.Items[1].Returned = true, true
	part.Items = slices.Clone(part.Items)
	part.Items[0].Returned = true
	type m = struct {
		kind mail.Kind
		what mail.Content
	}
	return map[string]m{
		"confirmation":          {mail.Confirmation, mail.Content{Name: "Ada Example", Event: trio, Order: twoSeats, Link: link, Files: 1}},
		"confirmation-one":      {mail.Confirmation, mail.Content{Event: mail.Event{Name: "Trio at the mill"}, Order: one, Link: link}},
		"confirmation-hostile":  {mail.Confirmation, mail.Content{Name: `</p><script>alert(1)</script>`, Event: mail.Event{Name: "A & B\r\nBcc: x@evil.example"}, Order: one, Link: `javascript:alert("1")`}},
		"refund":                {mail.Refund, mail.Content{Name: "Ada Example", Event: trio, Order: none, Amount: twoSeats.Total, Link: link}},
		"confirmation-part":     {mail.Confirmation, mail.Content{Name: "Ada Example", Event: trio, Order: part, Link: link}},
		"refund-part":           {mail.Refund, mail.Content{Name: "Ada Example", Event: trio, Order: part, Amount: eur(4500), Link: link, Off: true}},
		"cancellation":          {mail.Cancellation, mail.Content{Name: "Ada Example", Event: trio, Order: twoSeats, Link: link}},
		"cancellation-no-event": {mail.Cancellation, mail.Content{Name: "Ada Example", Event: trio, Order: twoSeats, Link: link, Off: true}},
		"transfer":              {mail.Transfer, mail.Content{Name: "Grace", Event: trio, Order: seat, Sender: "Ada Example", Link: "https://tickets.example/t/x#t=token"}},
		"postponed":             {mail.Reschedule, mail.Content{Name: "Ada Example", Event: mail.Event{Name: trio.Name, Zone: trio.Zone, Venue: trio.Venue, Place: trio.Place}, Order: twoSeats, Was: trio.Starts, Note: "The hall is flooded.", Link: link}},
		"moved":                 {mail.Reschedule, mail.Content{Name: "Ada Example", Event: trio, Order: twoSeats, Was: trio.Starts.AddDate(0, -1, 0), Dated: true, Link: link}},
		"as-planned":            {mail.Reschedule, mail.Content{Name: "Grace", Event: trio, Order: seat, Was: trio.Starts, Dated: true, Link: "https://tickets.example/t/x#t=token"}},
		"sign-in":               {mail.SignIn, mail.Content{Code: "7K3M-Q2XB", Expires: expires}},
	}
}

// TestEmails holds every e-mail against how it was when somebody last looked at it.
func TestEmails(t *testing.T) {
	t.Parallel()
	all := templates(t)
	for name, c := range contents() {
		m, err := all.Write(c.kind, mail.English, c.what)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for ending, got := range map[string]string{".txt": "Subject: " + m.Subject + "\n\n" + m.Text, ".html": m.HTML} {
			path := filepath.Join("testdata", "en", name+ending)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				continue
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s is not as it was; go test ./checkout/mail -update rewrites it. It is now:\n%s", path, got)
			}
		}
	}
}

// TestNothingGetsOut: what people enter is text, wherever it is shown.
func TestNothingGetsOut(t *testing.T) {
	t.Parallel()
	c := contents()["confirmation-hostile"]
	m, err := templates(t).Write(c.kind, "en", c.what)
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(m.Subject, "\r\n") {
		t.Errorf("subject %q", m.Subject)
	}
	for _, bad := range []string{"<script", `href="javascript:`} {
		if strings.Contains(m.HTML, bad) {
			t.Errorf("the HTML has %q", bad)
		}
	}
	if strings.Contains(m.Text, "\r") || strings.Contains(m.Text, "\nBcc:") {
		t.Errorf("what was entered has lines of its own: %q", m.Text)
	}
	dir := t.TempDir()
	sender, err := mail.Open(mail.Settings{URL: "file://" + dir, From: "Tickets <tickets@shop.example>", ReplyTo: "help@shop.example"})
	if err != nil {
		t.Fatal(err)
	}
	m.ID, m.At = "0190b0a0-0000-7000-8000-00000000000a", time.Now()
	m.To = mail.Address{Name: "Ada\r\nBcc: x@evil.example", Email: "ada@buyers.example"}
	m.Subject = "Your order\r\nBcc: x@evil.example\n\n<b>body</b> \u2028 \u202e" + strings.Repeat("ä", 400)
	m.Files = []mail.File{{Name: "tickets\r\nX-Evil: 1.pdf", Type: "application/pdf", Content: []byte("%PDF")}}
	if err := sender.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got := readEML(t, filepath.Join(dir, m.ID+".eml"))
	for _, name := range []string{"Bcc", "X-Evil"} {
		if v := got.Header.Get(name); v != "" {
			t.Errorf("%s: %s got into the header", name, v)
		}
	}
	if to, err := got.Header.AddressList("To"); err != nil || len(to) != 1 || to[0].Address != "ada@buyers.example" {
		t.Errorf("To: %v, %v", to, err)
	}
	if id := got.Header.Get("Message-ID"); id != "<"+m.ID+"@shop.example>" {
		t.Errorf("Message-ID %s", id)
	}
	if got.Header.Get("Auto-Submitted") != "auto-generated" || got.Header.Get("List-Id") == "" || got.Header.Get("Reply-To") != "<help@shop.example>" {
		t.Errorf("header %v", got.Header)
	}
}

func readEML(t *testing.T, path string) *stdmail.Message {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: mode %v", path, info.Mode())
	}
	return parsed(t, string(raw))
}

func parsed(t *testing.T, raw string) *stdmail.Message {
	t.Helper()
	m, err := stdmail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(m.Body)
	if err != nil {
		t.Fatal(err)
	}
	m.Body = strings.NewReader(string(body))
	return m
}

func TestUnknownLanguageIsEnglish(t *testing.T) {
	t.Parallel()
	c := contents()["confirmation"]
	en, err := templates(t).Write(c.kind, "en", c.what)
	if err != nil {
		t.Fatal(err)
	}
	other, err := templates(t).Write(c.kind, "xx", c.what)
	if err != nil || other.Text != en.Text {
		t.Errorf("%v: %s", err, other.Text)
	}
	if _, err := templates(t).Write("birthday", "en", c.what); err == nil {
		t.Error("a kind that does not exist is written")
	}
}

func TestAmounts(t *testing.T) {
	t.Parallel()
	for m, want := range map[catalog.Money]string{
		eur(4505): "45.05 EUR", eur(0): "0.00 EUR", eur(-5): "-0.05 EUR", {Amount: 4500, Currency: "JPY"}: "4500 JPY", {Amount: 1234, Currency: "KWD"}: "1.234 KWD",
	} {
		if got := mail.Amount(m); got != want {
			t.Errorf("%v: %q, want %q", m, got, want)
		}
	}
}

func TestSettingsAreChecked(t *testing.T) {
	t.Parallel()
	const from = "Tickets <tickets@shop.example>"
	for url, want := range map[string]string{
		"smtp://": "smtp_url", "imap://mail.example": "smtp_url", "smtp://mail.example/path": "smtp_url", "smtp://mail.example?tls=maybe": "tls",
		"smtp://mail.example?x=1": "tls is all", "smtps://mail.example?tls=none": "smtps", "smtp://mail.example:0": "port",
		"smtp://u:letmein@mail.example?tls=none": "without TLS", "file:///": "", "file://host/dir": "file:///", "smtp://u:let%zzmein@mail.example": "smtp_url",
	} {
		_, err := mail.Open(mail.Settings{URL: url, From: from})
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "letmein")) {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := mail.Open(mail.Settings{URL: "smtp://mail.example", From: "tickets"}); err == nil {
		t.Error("a sender without a domain is accepted")
	}
	if s, err := mail.Open(mail.Settings{}); s != nil || err != nil {
		t.Errorf("no address: %v, %v", s, err)
	}
}
