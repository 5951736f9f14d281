package mail

import (
	"fmt"
	"net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	gomail "github.com/wneessen/go-mail"
)

// Message is one e-mail, ready to be sent.
type Message struct {
	ID      string // makes the Message-ID: the same message has the same one whenever it is sent
	To      Address
	Subject string
	Text    string
	HTML    string
	Files   []File
	At      time.Time
}

// Address is somebody's e-mail address.
type Address struct{ Name, Email string }

// File goes with an e-mail.
type File struct {
	Name, Type string
	Content    []byte
}

const (
	mostSubject = 150 // characters
	mostName    = 100
)

// envelope is what all e-mails of a shop have in common.
type envelope struct {
	from, replyTo *mail.Address
	domain        string // of from
}

func newEnvelope(from, replyTo string) (envelope, error) {
	var e envelope
	var err error
	if e.from, err = mail.ParseAddress(from); err != nil {
		return e, fmt.Errorf("mail.from: %q is not an address such as Tickets <tickets@example.org>", from)
	}
	if replyTo != "" {
		if e.replyTo, err = mail.ParseAddress(replyTo); err != nil {
			return e, fmt.Errorf("mail.reply_to: %q is not an e-mail address", replyTo)
		}
	}
	e.domain = e.from.Address[strings.LastIndexByte(e.from.Address, '@')+1:]
	return e, nil
}

// build makes the MIME message.
func (e envelope) build(m Message) (*gomail.Msg, error) {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := msg.FromFormat(e.from.Name, e.from.Address); err != nil {
		return nil, fmt.Errorf("sender: %w", err)
	}
	if e.replyTo != nil {
		if err := msg.ReplyTo(e.replyTo.String()); err != nil {
			return nil, fmt.Errorf("reply-to: %w", err)
		}
	}
	if err := msg.AddToFormat(oneLine(m.To.Name, mostName), m.To.Email); err != nil {
		return nil, &Refused{Text: "the recipient's address is none"}
	}
	msg.Subject(oneLine(m.Subject, mostSubject))
	msg.SetMessageIDWithValue(m.ID + "@" + e.domain)
	msg.SetDateWithValue(m.At)
	// Nobody's holiday notice answers a machine (RFC 3834); older ones go by the list.
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetGenHeader("X-Auto-Response-Suppress", "All")
	msg.SetGenHeader("List-Id", "<orders."+e.domain+">")
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	msg.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	for _, f := range m.Files {
		err := msg.AttachReader(oneLine(f.Name, mostName), strings.NewReader(string(f.Content)), gomail.WithFileContentType(gomail.ContentType(f.Type)))
		if err != nil {
			return nil, fmt.Errorf("attach %s: %w", f.Name, err)
		}
	}
	return msg, nil
}

// oneLine makes text fit for a header: no control characters, no line breaks of any
// script, no invisible reordering, at most so many characters.
func oneLine(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, unicode.Is(unicode.Cf, r):
			return -1
		case unicode.IsControl(r), unicode.IsSpace(r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most-1]) + "…"
	}
	return text
}
