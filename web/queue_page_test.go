package web_test

import (
	"io/fs"
	"strings"
	"testing"

	"onsale/web/ui"
)

// TestQueuePageSpeaksTheReadersLanguage: each language is a page of its own, so
// that nobody loads the words of another, within the budget of one.
func TestQueuePageSpeaksTheReadersLanguage(t *testing.T) {
	t.Parallel()
	if _, err := fs.Stat(ui.Dist, "dist/csp.json"); err != nil {
		t.Skip("the pages are not built: make ui")
	}
	const budget = 8 << 10
	s := newStage(t, stageOptions{})
	for _, tt := range []struct{ query, likes, want string }{
		{"", "", "en"},
		{"", "de-AT,de;q=0.9,en;q=0.8", "de"},
		{"", "pl-PL,fr;q=0.5", "fr"},
		{"", "es-MX", "es"},
		{"", "ja", "ja"},
		{"", "pl", "en"},
		{"", "*", "en"},
		{"", "not a language at all;;;", "en"},
		{"", strings.Repeat("de-", 2000), "en"},
		{"?lang=ja", "de", "ja"},
		{"?lang=xx", "de", "de"},
		{"?lang=../console", "", "en"},
	} {
		page := s.get("/queue/"+s.event+tt.query, header("Accept-Language", tt.likes), header("Accept-Encoding", "br")).ok(200, nil)
		if got := page.header.Get("Content-Language"); got != tt.want {
			t.Errorf("%q, liking %.40q: %s, want %s", tt.query, tt.likes, got, tt.want)
		}
		if vary := strings.Join(page.header.Values("Vary"), ", "); !strings.Contains(vary, "Accept-Language") {
			t.Errorf("Vary: %s", vary)
		}
		if page.header.Get("Content-Encoding") != "br" || len(page.body) > budget {
			t.Errorf("%s: %d bytes (%q), of %d", tt.want, len(page.body), page.header.Get("Content-Encoding"), budget)
		}
		t.Logf("%s: %d bytes", tt.want, len(page.body))
		html := string(s.get("/queue/"+s.event+tt.query, header("Accept-Language", tt.likes)).ok(200, nil).body)
		if !strings.Contains(html, `<html lang="`+tt.want+`"`) {
			t.Errorf("%q, liking %.40q: %.60s", tt.query, tt.likes, html)
		}
	}
}
