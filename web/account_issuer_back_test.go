package web

import (
	"net/url"
	"strings"
	"testing"

	"onsale/internal/fault"
)

// TestBackTo: whoever signs in goes on at a page of this site, and nowhere else.
func TestBackTo(t *testing.T) {
	t.Parallel()
	s := &Server{Deps: Deps{PublicURL: &url.URL{Scheme: "https", Host: "tickets.example"}}}
	for text, want := range map[string]string{
		"": "/account", "/": "/", "/queue/1": "/queue/1", "/events/1?a=b&c=d": "/events/1?a=b&c=d", "/x#secret": "/x", "/ä?ö=ü": "/%C3%A4?%C3%B6=%C3%BC",
		"/x?return=https://evil.example": "/x?return=https://evil.example", "/x/..": "/x/..", "/a<b>": "/a%3Cb%3E",
	} {
		if got, err := s.backTo(text); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{
		"https://tickets.example/", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "\\/evil.example", "javascript:alert(1)", "evil", ".evil.example",
		"@evil.example", "?x", "#x", " /x", "/ x", "/\t/evil.example", "/\r\nSet-Cookie: a=b", "/\x00", "/\u202e", "/\xff", "/%zz", "/v1", "/v1/events", "/x/../v1/account/oidc", "/v1//account/oidc",
		"/%76%31/account/oidc", "/" + strings.Repeat("x", 512), "/" + strings.Repeat("ä", 200),
	} {
		if got, err := s.backTo(text); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

// FuzzBackTo: what is let through means the same to browsers.
func FuzzBackTo(f *testing.F) {
	for _, text := range []string{"/queue/1?a=b", "//evil.example", "/\\evil", "/%2f/evil", "/..//evil.example", "https:/x"} {
		f.Add(text)
	}
	s := &Server{Deps: Deps{PublicURL: &url.URL{Scheme: "https", Host: "tickets.example"}}}
	f.Fuzz(func(t *testing.T, text string) {
		back, err := s.backTo(text)
		if err != nil {
			return
		}
		u, err := url.Parse(origin(s.PublicURL) + back)
		if err != nil || u.Host != "tickets.example" || u.Scheme != "https" || u.User != nil || len(back) > mostBack || strings.ContainsAny(back, " \\\"<>\r\n\t") {
			t.Errorf("%q leads to %q", text, back)
		}
		if again, err := s.backTo(back); err != nil || again != back {
			t.Errorf("%q leads to %q, and that to %q, %v", text, back, again, err)
		}
	})
}
