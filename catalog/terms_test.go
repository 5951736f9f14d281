package catalog

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/currency"
	"pgregory.net/rapid"
)

func TestRateIsExact(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Rate{
		"0": 0, "7": 7000, "19": 19_000, "8.875": 8875, "7.7": 7700, "0.001": 1, "100": 100_000, "100.000": 100_000, "005.5": 5500, "20.05": 20_050,
	} {
		if got, ok := ParseRate(text); !ok || got != want {
			t.Errorf("%q is %d, %t, want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{"", ".", "7.", ".5", "-1", "+1", "1e1", "1,5", "100.001", "101", "0.0001", "8.8750", "1000", " 7", "0x7", "NaN", "٧"} {
		if got, ok := ParseRate(text); ok {
			t.Errorf("%q was read as %d", text, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		r := Rate(rapid.IntRange(0, 100_000).Draw(t, "rate"))
		if back, ok := ParseRate(r.String()); !ok || back != r {
			t.Fatalf("%d is written %q and read as %d", int(r), r, back)
		}
		var fromText, fromNumber Rate
		doc, err := json.Marshal(r)
		if err != nil || json.Unmarshal(doc, &fromText) != nil || json.Unmarshal([]byte(r.String()), &fromNumber) != nil || fromText != r || fromNumber != r {
			t.Fatalf("%d is %s in JSON, read as %d and %d", int(r), doc, fromText, fromNumber)
		}
	})
}

func eventWith(more string) []byte {
	return []byte(`{"name": "n", "starts_at": "2027-01-01T10:00:00Z", "venue": {"name": "v", "country": "DE"}, "currency": "EUR",
	  "areas": [{"name": "Floor", "capacity": 2, "price": 100}]` + more + `}`)
}

func TestParseEventReadsTerms(t *testing.T) {
	t.Parallel()
	site := Defaults{Room: DefaultRoom(), MaxPerBuyer: 6, Taxes: map[string]Tax{"DE": {"VAT", 7000, true}, "US": {"sales tax", 8875, false}}}
	for _, test := range []struct {
		name, more string
		want       Terms
	}{
		{"nothing said: the country's tax", ``, Terms{Tax: Tax{"VAT", 7000, true}}},
		{"null says nothing", `, "tax": null, "fees": null, "cancellation": null`, Terms{Tax: Tax{"VAT", 7000, true}}},
		{"no tax here", `, "tax": {"percent": 0}`, Terms{Tax: Tax{"", 0, true}}},
		{"all of it", `, "fees": {"per_ticket": 150, "per_order": 200}, "tax": {"name": "MwSt", "percent": "19", "included": false}, "cancellation": {"until_hours": 48, "keep_fees": false}`,
			Terms{150, 200, Tax{"MwSt", 19_000, false}, &CancelPolicy{48, false}}},
		{"a number by its digits", `, "tax": {"name": "MwSt", "percent": 8.875}, "cancellation": {"until_hours": 0}`,
			Terms{0, 0, Tax{"MwSt", 8875, true}, &CancelPolicy{0, true}}},
	} {
		e, _, err := site.ParseEvent(eventWith(test.more))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		l, _, err := Compose(e, counter())
		if err != nil || !e.Terms.Same(test.want) || !l.Terms.Same(test.want) {
			t.Errorf("%s: the event has %+v, its layout %+v, %v", test.name, e.Terms, l.Terms, err)
		}
	}
	if e, _, err := ParseEvent(eventWith("")); err != nil || !e.Terms.Same(Terms{}) {
		t.Errorf("without a site's taxes the event has %+v, %v", e.Terms, err)
	}
}

func TestParseEventNamesProblemsOfTerms(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		more string
		want []string
	}{
		{`, "fees": {"per_ticket": -1, "per_order": 1.5, "per_row": 1}, "tax": {"percent": "19.0001", "included": "yes", "code": 1}, "cancellation": {"until_hours": 9000, "keep": 1}`,
			[]string{
				`$.fees.per_row: the key "per_row" is not known`, `$.fees.per_ticket: must be a whole number from 0`, `$.fees.per_order: must be a whole number`,
				`$.tax.code: the key "code" is not known`, `$.tax.included: true or false is expected`, `$.tax.percent: must be a percentage from 0 to 100`,
				`$.cancellation.keep: the key "keep" is not known`, `$.cancellation.until_hours: must be a whole number from 0 to 8760`,
			}},
		{`, "fees": 5, "tax": "19", "cancellation": {}`,
			[]string{`$.fees: an object is expected`, `$.tax: an object is expected`, `$.cancellation: until_hours is missing`}},
		{`, "tax": {"name": "VAT"}`, []string{`$.tax: the percent is missing`}},
		{`, "tax": {"name": "VAT", "percent": true}`, []string{`$.tax.percent: must be a percentage`}},
		{`, "tax": {"name": "VAT", "percent": 1e1}`, []string{`$.tax.percent: must be a percentage`}},
		{`, "tax": {"percent": 19}`, []string{`$.tax.name: is missing`}},
		{`, "tax": {"name": "` + strings.Repeat("x", 51) + `", "percent": 19}`, []string{`$.tax.name: must be text of at most 50`}},
	} {
		_, _, err := ParseEvent(eventWith(test.more))
		wantLines(t, problemsOf(t, err), test.want...)
	}
}

func TestEventPatchOfTerms(t *testing.T) {
	t.Parallel()
	var p EventPatch
	if err := json.Unmarshal([]byte(`{"fees": {"per_order": 0}, "tax": {"name": "VAT", "percent": "7.7"}, "cancellation": null}`), &p); err != nil {
		t.Fatal(err)
	}
	if p.Fees.PerTicket != nil || *p.Fees.PerOrder != 0 || p.Tax.Value.Tax() != (Tax{"VAT", 7700, true}) || !p.Cancel.Given || p.Cancel.Value.Policy() != nil || p.Check() != nil {
		t.Errorf("read as %+v, %v", p, p.Check())
	}
	if doc, err := json.Marshal(p); err != nil || string(doc) != `{"fees":{"per_order":0},"tax":{"name":"VAT","percent":"7.7"},"cancellation":null}` {
		t.Errorf("written again it is %s, %v", doc, err)
	}
	for body, want := range map[string]string{
		`{"fees": {}}`:                               "$.fees: per_ticket or per_order is expected",
		`{"fees": {"per_ticket": -1}}`:               "$.fees.per_ticket: must be from 0",
		`{"fees": {"per_order": 1000000000001}}`:     "$.fees.per_order: must be from 0",
		`{"tax": {"percent": 7}}`:                    "$.tax.name: is missing",
		`{"tax": {"name": "VAT"}}`:                   "$.tax.percent: is missing",
		`{"cancellation": {}}`:                       "$.cancellation.until_hours: is missing",
		`{"cancellation": {"until_hours": -1}}`:      "$.cancellation.until_hours: must be",
		`{"tax": {"name": "a\u0007", "percent": 7}}`: "$.tax.name: must be text",
	} {
		var p EventPatch
		if err := json.Unmarshal([]byte(body), &p); err != nil {
			t.Errorf("%s: %v", body, err)
		} else if err := p.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
	if err := json.Unmarshal([]byte(`{"cancellation": {"until": 1}}`), &p); err == nil || !strings.Contains(err.Error(), `unknown field "until"`) {
		t.Errorf("an unknown member gives %v", err)
	}
	if err := json.Unmarshal([]byte(`{"tax": {"name": "VAT", "percent": "a lot"}}`), &p); err == nil || !strings.Contains(err.Error(), "percent: must be a percentage") {
		t.Errorf("a wrong percent gives %v", err)
	}
}

// What CLDR counts as tender somewhere today is in our list, but for what it knows
// too late or too early; and whatever is in the list, CLDR has heard of.
func TestCurrenciesAreThoseInUse(t *testing.T) {
	t.Parallel()
	newer := map[string]bool{"MRU": true, "VES": true, "XCG": true, "ZWG": true, "SLE": true, "VED": true} // than the data of golang.org/x/text
	for code := range currencyDecimals {
		if _, err := currency.ParseISO(code); err != nil && !newer[code] {
			t.Errorf("%s: %v", code, err)
		}
	}
	gone := map[string]string{
		"ANG": "XCG since 2025", "BGN": "EUR since 2026", "HRK": "EUR since 2023", "CUC": "withdrawn in 2021", "SLL": "SLE since 2022",
		"ZWL": "ZWG since 2024", "VEF": "VES since 2018", "MRO": "MRU since 2018", "STD": "STN since 2018", "BYR": "BYN since 2016",
	}
	for it := currency.Query(currency.Date(time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC))); it.Next(); {
		code := it.Unit().String()
		if _, known := CurrencyDecimals(code); !known && gone[code] == "" {
			t.Errorf("%s is tender in %s and not in the list", code, it.Region())
		}
	}
	for code := range gone {
		if _, known := CurrencyDecimals(code); known {
			t.Errorf("%s is in the list", code)
		}
	}
	for code, want := range map[string]int{"EUR": 2, "JPY": 0, "KWD": 3, "HUF": 2, "ISK": 0, "KRW": 0} {
		if got, known := CurrencyDecimals(code); got != want || !known {
			t.Errorf("%s has %d decimals, %t", code, got, known)
		}
	}
	for _, code := range []string{"DEM", "XXX", "XTS", "XAU", "eur", "EURO", "", "ABC"} {
		if d, known := CurrencyDecimals(code); known {
			t.Errorf("%q is known, with %s decimals", code, strconv.Itoa(d))
		}
	}
	_, _, err := ParseEvent([]byte(strings.Replace(string(eventWith("")), `"EUR"`, `"DEM"`, 1)))
	wantLines(t, problemsOf(t, err), `$.currency: DEM is not a currency in use`)
}
