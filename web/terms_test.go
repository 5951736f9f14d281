package web_test

import (
	"fmt"
	"strings"
	"testing"
)

// The page says what is paid besides the prices before any script runs.
func TestEventPageTellsFeesAndTax(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	for more, want := range map[string]string{
		`"currency": "EUR"`: "",
		`"currency": "JPY", "fees": {"per_order": 330}, "tax": {"name": "消費税", "percent": 10}`:                                              "Plus fees: 330 JPY per order. All prices and fees incl. 10% 消費税.",
		`"currency": "KWD", "fees": {"per_ticket": 1500, "per_order": 250}`:                                                                 "Plus fees: 1.500 KWD per ticket and 0.250 KWD per order.",
		`"currency": "HUF", "tax": {"name": "ÁFA", "percent": "27"}`:                                                                        "All prices incl. 27% ÁFA.",
		`"currency": "USD", "tax": {"name": "<b>sales</b> tax", "percent": "8.875", "included": false}, "cancellation": {"until_hours": 1}`: "Plus 8.875% &lt;b&gt;sales&lt;/b&gt; tax on prices. You can cancel until 1 hour before the start.",
		`"currency": "EUR", "fees": {"per_ticket": 150}, "cancellation": {"until_hours": 48}`:                                               "Plus fees: 1.50 EUR per ticket. You can cancel until 48 hours before the start; fees are not given back.",
		`"currency": "EUR", "fees": {"per_ticket": 100}, "cancellation": {"until_hours": 0, "keep_fees": false}`:                            "Plus fees: 1.00 EUR per ticket. You can cancel until the start.",
	} {
		page := string(s.get("/events/"+s.newEventWith(fmt.Sprint("Event ", len(want)), more)).ok(200, nil).body)
		_, essentials, found := strings.Cut(page, `<div id="essentials">`)
		essentials, _, _ = strings.Cut(essentials, "</div>")
		switch {
		case !found:
			t.Fatal("the page has no essentials")
		case want == "" && (strings.Contains(essentials, "Plus") || strings.Contains(essentials, "incl.")):
			t.Errorf("%s: says more than prices: %s", more, essentials)
		case !strings.Contains(essentials, want):
			t.Errorf("%s: %q is missing in %s", more, want, essentials)
		case strings.Contains(more, "HUF") && !strings.Contains(essentials, "45.00 HUF"):
			t.Errorf("4500 of the smallest unit of HUF are not 45.00: %s", essentials)
		}
	}
}
