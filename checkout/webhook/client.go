package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	timeout    = 10 * time.Second
	mostAnswer = 64 << 10 // bytes read of an answer, so that its connection can be used again
	mostWait   = time.Hour
	mostURL    = 2000 // bytes
)

// Message is one webhook on its way to one endpoint.
type Message struct {
	ID      string
	URL     string
	At      time.Time // of this attempt
	Body    []byte    // JSON
	Secrets []Secret  // newest first
}

// Answer is what the endpoint said.
type Answer struct {
	Status int           // of HTTP; 0: there was none
	Wait   time.Duration // as Retry-After asks, at most an hour
}

// OK tells whether the endpoint has the message.
func (a Answer) OK() bool { return a.Status >= 200 && a.Status < 300 }

// Gone tells whether the endpoint wants no messages any more.
func (a Answer) Gone() bool { return a.Status == http.StatusGone }

// ErrPrivate says that the address leads into a network that is not the public one.
var ErrPrivate = errors.New("the address is not a public one; the setting webhooks.allow_private allows it")

// Client posts messages. It is safe for concurrent use.
type Client struct {
	http         *http.Client
	allowPrivate bool
	agent        string
}

// NewClient returns a client. allowPrivate lets messages go to loopback, private
// and link-local addresses, and over plain HTTP.
func NewClient(allowPrivate bool, agent string) *Client {
	dialer := &net.Dialer{Timeout: timeout / 2}
	if !allowPrivate {
		dialer.Control = publicOnly
	}
	return &Client{
		allowPrivate: allowPrivate, agent: agent,
		http: &http.Client{
			Timeout: timeout,
			Transport: &http.Transport{
				// No proxy of the environment: it would make the connections, and the
				// addresses would go unseen.
				Proxy:                  nil,
				DialContext:            dialer.DialContext,
				ForceAttemptHTTP2:      true,
				TLSHandshakeTimeout:    timeout / 2,
				ResponseHeaderTimeout:  timeout,
				MaxResponseHeaderBytes: 32 << 10,
				MaxIdleConns:           64,
				MaxIdleConnsPerHost:    8,
				MaxConnsPerHost:        16,
				IdleConnTimeout:        time.Minute,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Close ends the connections that nobody uses.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Check tells what is wrong with the address of an endpoint, in words for the
// operator who entered it. Names are resolved only when something is sent.
func (c *Client) Check(address string) error {
	u, err := url.Parse(address)
	switch {
	case len(address) > mostURL:
		return fmt.Errorf("is longer than %d bytes", mostURL)
	case err != nil || u.Host == "" || u.Hostname() == "" || strings.ContainsFunc(address, func(r rune) bool { return r <= 0x20 || r >= 0x7f }):
		return errors.New("is not an address such as https://hooks.example/onsale")
	case u.Scheme != "https" && u.Scheme != "http":
		return errors.New("must begin with https://")
	case u.Scheme == "http" && !c.allowPrivate:
		return errors.New("must begin with https://: what is sent must not be read on the way")
	case u.User != nil:
		return errors.New("must not hold a name or password: every message is signed")
	case u.Fragment != "":
		return errors.New("must not have a part after #: it is never sent")
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && !c.allowPrivate && !public(ip) {
		return ErrPrivate
	}
	return nil
}

// Post sends m once. An answer other than success is no error; an error says that
// there was none. What it says of the network is for operators, and holds no secret.
func (c *Client) Post(ctx context.Context, m Message) (Answer, error) {
	if err := c.Check(m.URL); err != nil {
		return Answer{}, fmt.Errorf("the address %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, m.URL, bytes.NewReader(m.Body))
	if err != nil {
		return Answer{}, errors.New("the address cannot be used")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", c.agent)
	r.Header.Set(HeaderID, m.ID)
	r.Header.Set(HeaderTimestamp, strconv.FormatInt(m.At.Unix(), 10))
	r.Header.Set(HeaderSignature, Sign(m.ID, m.At, m.Body, m.Secrets...))
	response, err := c.http.Do(r)
	if err != nil {
		return Answer{}, reason(err)
	}
	defer response.Body.Close()
	// What the endpoint writes is nobody's business here; what is left after the
	// bound ends the connection.
	_, _ = io.CopyN(io.Discard, response.Body, mostAnswer)
	return Answer{Status: response.StatusCode, Wait: retryAfter(response.Header)}, nil
}

// reason leaves out the address, which stands beside it and may hold a token.
func reason(err error) error {
	if errors.Is(err, ErrPrivate) {
		return ErrPrivate
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		if wrapped.Timeout() {
			return errors.New("no answer within the time")
		}
		return wrapped.Err
	}
	return err
}

// retryAfter reads the seconds of Retry-After; dates are rare and left out.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(min(seconds, 86400))*time.Second, mostWait)
}

// publicOnly refuses a connection before it is made, whatever name has led to its
// address.
func publicOnly(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !public(at.Addr()) {
		return ErrPrivate
	}
	return nil
}

// inside are networks that net/netip has no word for.
var inside = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // this network
	netip.MustParsePrefix("100.64.0.0/10"),   // carriers' own (RFC 6598)
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, and broadcast
	netip.MustParsePrefix("64:ff9b::/96"),    // IPv4 addresses in IPv6: could be any of the above
	netip.MustParsePrefix("64:ff9b:1::/48"),  // same, private
	netip.MustParsePrefix("100::/64"),        // discarded
	netip.MustParsePrefix("2001::/23"),       // protocol assignments, Teredo
	netip.MustParsePrefix("2001:db8::/32"),   // documentation
	netip.MustParsePrefix("2002::/16"),       // 6to4, IPv4 inside
	netip.MustParsePrefix("fec0::/10"),       // site-local of old
}

// public tells whether an address is one of the internet at large.
func public(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() {
		return false
	}
	for _, network := range inside {
		if network.Contains(ip) {
			return false
		}
	}
	return true
}
