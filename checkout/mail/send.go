package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// step bounds each part of a conversation: the connection, and the sending.
const step = 10 * time.Second

// Settings say how e-mails leave.
type Settings struct {
	// URL is smtp://user:password@host:587?tls=required|starttls|none,
	// smtps://user:password@host:465, or file:///folder.
	URL     string
	From    string
	ReplyTo string
	TLS     *tls.Config // nil: the system's roots; for tests
}

// Sender sends an e-mail. A *Refused error is final; after any other the e-mail can
// be tried again.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// Refused is the answer of a server that will never take the e-mail.
type Refused struct {
	Code int // of SMTP; 0: we refuse
	Text string
}

func (r *Refused) Error() string {
	if r.Code == 0 {
		return r.Text
	}
	return "the mail server refused it for good: " + r.Text
}

// Open returns the sender that the settings name; nil when URL is empty. It does no
// I/O. Its errors show no password.
func Open(s Settings) (Sender, error) {
	if s.URL == "" {
		return nil, nil //nolint:nilnil // there is none, as documented
	}
	e, err := newEnvelope(s.From, s.ReplyTo)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(s.URL)
	if err != nil { // url's own error would show it
		return nil, errors.New("mail.smtp_url: not an address such as smtp://user:password@mail.example:587")
	}
	if u.Scheme == "file" {
		if u.Host != "" || !filepath.IsAbs(u.Path) {
			return nil, errors.New("mail.smtp_url: a folder is written as file:///var/lib/onsale/mail")
		}
		return &Folder{envelope: e, dir: u.Path}, nil
	}
	return newSMTP(u, e, s.TLS)
}

// SMTP sends by a mail server, with one connection for each e-mail.
type SMTP struct {
	envelope

	host    string
	options []gomail.Option
}

func newSMTP(u *url.URL, e envelope, roots *tls.Config) (*SMTP, error) {
	host := u.Hostname()
	if host == "" || u.Scheme != "smtp" && u.Scheme != "smtps" || strings.Trim(u.Path, "/") != "" || u.Fragment != "" {
		return nil, errors.New("mail.smtp_url: not an address such as smtp://user:password@mail.example:587")
	}
	query := u.Query()
	policy := query.Get("tls")
	query.Del("tls")
	if len(query) > 0 {
		return nil, errors.New("mail.smtp_url: tls is all that can stand behind the ?")
	}
	secured := roots.Clone()
	if secured == nil {
		secured = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	secured.ServerName = host
	s := &SMTP{envelope: e, host: host, options: []gomail.Option{
		gomail.WithTimeout(step), gomail.WithTLSConfig(secured), gomail.WithHELO(e.domain), gomail.WithoutNoop(),
	}}
	port := 587
	switch {
	case u.Scheme == "smtps" && policy == "":
		port = 465
		s.options = append(s.options, gomail.WithSSL())
	case u.Scheme == "smtps":
		return nil, errors.New("mail.smtp_url: smtps:// is TLS from the beginning, ?tls= does not go with it")
	case policy == "" || policy == "required":
		s.options = append(s.options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case policy == "starttls":
		s.options = append(s.options, gomail.WithTLSPolicy(gomail.TLSOpportunistic))
	case policy == "none":
		port = 25
		s.options = append(s.options, gomail.WithTLSPolicy(gomail.NoTLS))
		if u.User != nil {
			return nil, errors.New("mail.smtp_url: a password is not sent without TLS: use ?tls=required")
		}
	default:
		return nil, errors.New("mail.smtp_url: tls must be required, starttls or none")
	}
	if text := u.Port(); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return nil, errors.New("mail.smtp_url: the port is none")
		}
		port = int(n)
	}
	s.options = append(s.options, gomail.WithPort(port))
	if u.User != nil {
		password, _ := u.User.Password()
		s.options = append(s.options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover),
			gomail.WithUsername(u.User.Username()), gomail.WithPassword(password))
	}
	_, err := gomail.NewClient(host, s.options...)
	if err != nil {
		return nil, errors.New("mail.smtp_url: cannot be used")
	}
	return s, nil
}

// Send implements Sender.
func (s *SMTP) Send(ctx context.Context, m Message) error {
	msg, err := s.build(m)
	if err != nil {
		return err
	}
	client, err := gomail.NewClient(s.host, s.options...)
	if err != nil {
		return err
	}
	err = client.DialAndSendWithContext(ctx, msg)
	if err == nil || msg.IsDelivered() { // what went wrong after the server's 250 is no concern of the e-mail
		return nil
	}
	return explain(err)
}

// explain keeps what an operator can act on, and decides whether it is final: a
// recipient or a content that the server will not have. What it says to us before
// that, about logins and senders, is about settings, which somebody can mend within
// the day.
func explain(err error) error {
	failed, ok := errors.AsType[*gomail.SendError](err)
	if !ok {
		if network, ok := errors.AsType[net.Error](err); ok && network.Timeout() {
			return errors.New("the mail server did not answer in time")
		}
		return fmt.Errorf("the mail server: %w", err)
	}
	text, code := failed.Error(), failed.ErrorCode()
	// The list of recipients and the Message-ID stand in the record already.
	text, _, _ = strings.Cut(text, ", affected ")
	final := failed.Reason == gomail.ErrSMTPRcptTo || failed.Reason == gomail.ErrSMTPData || failed.Reason == gomail.ErrSMTPDataClose
	if final && code >= 500 {
		return &Refused{Code: code, Text: text}
	}
	return fmt.Errorf("the mail server: %s", text)
}

// Folder writes e-mails as .eml files, which any mail program opens: for trying
// things out.
type Folder struct {
	envelope

	dir string
}

var fileName = regexp.MustCompile(`[^0-9A-Za-z-]+`)

// Send implements Sender. Sending again replaces the file.
func (f *Folder) Send(_ context.Context, m Message) error {
	msg, err := f.build(m)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("the folder for e-mails: %w", err)
	}
	path := filepath.Join(f.dir, fileName.ReplaceAllString(m.ID, "_")+".eml")
	draft, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write an e-mail: %w", err)
	}
	_, err = msg.WriteTo(draft)
	if err = errors.Join(err, draft.Close()); err != nil {
		return fmt.Errorf("write an e-mail: %w", err)
	}
	return os.Rename(path+".new", path)
}
