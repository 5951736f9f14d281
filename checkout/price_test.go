package checkout

import (
	"encoding/json"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"onsale/catalog"
)

// priced is a layout with one ticket per price.
func priced(currency string, terms catalog.Terms, prices ...int64) (*catalog.Layout, []int) {
	l := &catalog.Layout{Currency: currency, Terms: terms}
	ordinals := make([]int, len(prices))
	for i, p := range prices {
		l.Tiers = append(l.Tiers, catalog.Tier{Price: catalog.Money{Amount: p, Currency: currency}})
		l.Seats = append(l.Seats, catalog.Seat{Tier: i})
		ordinals[i] = i
	}
	return l, ordinals
}

// The amounts were computed by hand.
func TestQuoteOfRealEvents(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		currency string
		terms    catalog.Terms
		prices   []int64
		promo    *Promo
		items    []ItemPrice
		orderFee [3]int64 // fee, tax, total
		total    int64
	}{
		{
			name: "nothing but prices", currency: "EUR", prices: []int64{4500, 2900},
			items: []ItemPrice{{4500, 0, 0, 0, 4500}, {2900, 0, 0, 0, 2900}}, total: 7400,
		},
		{
			// 46.50 contain 46.50 · 7/107 = 3.0420…; 2.00 contain 0.1308…
			name: "Germany, 7 % in the price", currency: "EUR",
			terms:  catalog.Terms{FeePerTicket: 150, FeePerOrder: 200, Tax: catalog.Tax{Name: "VAT", Rate: 7000, Included: true}},
			prices: []int64{4500, 4500},
			items:  []ItemPrice{{4500, 0, 150, 304, 4650}, {4500, 0, 150, 304, 4650}}, orderFee: [3]int64{200, 13, 200}, total: 9500,
		},
		{
			// 10 % of 45.00 is 4.50; 42.00 contain 42 · 7/107 = 2.7476…
			name: "Germany, with 10 % off the tickets", currency: "EUR",
			terms:  catalog.Terms{FeePerTicket: 150, FeePerOrder: 200, Tax: catalog.Tax{Name: "VAT", Rate: 7000, Included: true}},
			prices: []int64{4500, 4500}, promo: &Promo{Kind: PromoPercent, Value: 10_000},
			items: []ItemPrice{{4500, 450, 150, 275, 4200}, {4500, 450, 150, 275, 4200}}, orderFee: [3]int64{200, 13, 200}, total: 8600,
		},
		{
			// 104.50 · 8.875 % = 9.274375; 3.50 · 8.875 % = 0.310625
			name: "New York, 8.875 % on top", currency: "USD",
			terms:  catalog.Terms{FeePerTicket: 450, FeePerOrder: 350, Tax: catalog.Tax{Name: "sales tax", Rate: 8875}},
			prices: []int64{10_000, 10_000},
			items:  []ItemPrice{{10_000, 0, 450, 927, 11_377}, {10_000, 0, 450, 927, 11_377}}, orderFee: [3]int64{350, 31, 381}, total: 23_135,
		},
		{
			// 25.00 off three tickets of 99.99 and one of 20.00, 319.97 in all: 25 · 99.99/319.97 = 7.812…,
			// then 17.19 · 99.99/219.98 = 7.813…, 9.38 · 99.99/119.99 = 7.816…, and 1.56 is left.
			// 8.875 % of 92.18 is 8.180975, of 92.17 8.1800875, of 18.44 1.63655.
			name: "New York, 25 dollars off", currency: "USD",
			terms:  catalog.Terms{Tax: catalog.Tax{Name: "sales tax", Rate: 8875}},
			prices: []int64{9999, 9999, 9999, 2000}, promo: &Promo{Kind: PromoAmount, Value: 2500},
			items: []ItemPrice{{9999, 781, 0, 818, 10_036}, {9999, 781, 0, 818, 10_036}, {9999, 782, 0, 818, 10_035}, {2000, 156, 0, 164, 2008}},
			total: 32_115,
		},
		{
			// Yen have no smaller unit: 9020 contain 9020 · 10/110 = 820 exactly; 330 contain 30.
			name: "Japan, 10 % in the price", currency: "JPY",
			terms:  catalog.Terms{FeePerTicket: 220, FeePerOrder: 330, Tax: catalog.Tax{Name: "消費税", Rate: 10_000, Included: true}},
			prices: []int64{8800}, items: []ItemPrice{{8800, 0, 220, 820, 9020}}, orderFee: [3]int64{330, 30, 330}, total: 9350,
		},
		{
			// A third of 1000 yen is 333.33…; the last ticket has what is left.
			name: "Japan, 1000 yen off three tickets", currency: "JPY", prices: []int64{5000, 5000, 5000}, promo: &Promo{Kind: PromoAmount, Value: 1000},
			items: []ItemPrice{{5000, 333, 0, 0, 4667}, {5000, 334, 0, 0, 4666}, {5000, 333, 0, 0, 4667}}, total: 14_000,
		},
		{
			name: "more off than the tickets cost: fees stay", currency: "EUR", terms: catalog.Terms{FeePerTicket: 100, FeePerOrder: 50},
			prices: []int64{1000, 500}, promo: &Promo{Kind: PromoAmount, Value: 9000},
			items: []ItemPrice{{1000, 1000, 100, 0, 100}, {500, 500, 100, 0, 100}}, orderFee: [3]int64{50, 0, 50}, total: 250,
		},
		{
			name: "half a unit is rounded up", currency: "EUR", terms: catalog.Terms{Tax: catalog.Tax{Rate: 10_000}},
			prices: []int64{5, 4}, items: []ItemPrice{{5, 0, 0, 1, 6}, {4, 0, 0, 0, 4}}, total: 10,
		},
		{name: "no tickets, no order", currency: "EUR", terms: catalog.Terms{FeePerTicket: 1, FeePerOrder: 2}, items: []ItemPrice{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l, ordinals := priced(test.currency, test.terms, test.prices...)
			q := NewQuote(l, ordinals, test.promo)
			if !slices.Equal(q.Items, test.items) {
				t.Errorf("items are %+v, want %+v", q.Items, test.items)
			}
			if got := [3]int64{q.OrderFee, q.OrderFeeTax, q.OrderFeeTotal}; got != test.orderFee || q.Total != test.total || q.Currency != test.currency {
				t.Errorf("the order's fee is %v, want %v; the total %d %s, want %d", got, test.orderFee, q.Total, q.Currency, test.total)
			}
		})
	}
}

// amounts are mostly of everyday size, and sometimes the largest there may be.
func amounts(low int64) *rapid.Generator[int64] {
	return rapid.OneOf(rapid.Int64Range(low, 20_000), rapid.Int64Range(1_000_000_000_000-1000, 1_000_000_000_000))
}

func TestQuotesAddUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		terms := catalog.Terms{
			FeePerTicket: amounts(0).Draw(t, "per ticket"), FeePerOrder: amounts(0).Draw(t, "per order"),
			Tax: catalog.Tax{
				Name: "tax", Rate: catalog.Rate(rapid.OneOf(rapid.IntRange(0, 30_000), rapid.IntRange(99_000, 100_000)).Draw(t, "rate")),
				Included: rapid.Bool().Draw(t, "included"),
			},
		}
		prices := rapid.SliceOfN(amounts(0), 1, 100).Draw(t, "prices")
		var promo *Promo
		switch rapid.IntRange(0, 2).Draw(t, "promo") {
		case 1:
			promo = &Promo{Code: "P", Kind: PromoPercent, Value: rapid.Int64Range(1, 100_000).Draw(t, "percent")}
		case 2:
			promo = &Promo{Code: "P", Kind: PromoAmount, Value: amounts(1).Draw(t, "off")}
		}
		l, ordinals := priced("EUR", terms, prices...)
		q := NewQuote(l, ordinals, promo)

		var total, sum, off int64
		tickets := make([]string, len(prices))
		for i, item := range q.Items {
			onTop := item.Tax
			if terms.Tax.Included {
				onTop = 0
			}
			if item.Price != prices[i] || item.Fee != terms.FeePerTicket {
				t.Fatalf("item %d is %+v", i, item)
			}
			if item.Discount < 0 || item.Discount > item.Price || item.Tax < 0 {
				t.Fatalf("item %d is %+v: its discount is at most its price", i, item)
			}
			if item.Total != item.Price-item.Discount+item.Fee+onTop {
				t.Fatalf("item %d does not add up: %+v", i, item)
			}
			checkTax(t, item.Price-item.Discount+item.Fee, item.Tax, terms.Tax)
			total, sum, off = total+item.Total, sum+item.Price, off+item.Discount
			tickets[i] = "t"
		}
		checkTax(t, q.OrderFee, q.OrderFeeTax, terms.Tax)
		if total+q.OrderFeeTotal != q.Total || q.OrderFee != terms.FeePerOrder {
			t.Fatalf("the lines come to %d and %d, the total is %d", total, q.OrderFeeTotal, q.Total)
		}
		switch {
		case promo == nil && off != 0:
			t.Fatalf("%d off without a code", off)
		case promo != nil && promo.Kind == PromoAmount && off != min(promo.Value, sum):
			t.Fatalf("%d off %d, the code says %d", off, sum, promo.Value)
		case promo != nil && promo.Kind == PromoPercent:
			for i, item := range q.Items {
				if want := rounded(item.Price, promo.Value, 100_000); item.Discount != want {
					t.Fatalf("item %d: %d off %d at %d, want %d", i, item.Discount, item.Price, promo.Value, want)
				}
			}
		}
		v := q.View(tickets)
		paid := v.Subtotal.Amount - v.Discount.Amount + v.Fees.Amount
		if v.Tax != nil && !v.Tax.Included {
			paid += v.Tax.Amount.Amount
		}
		if paid != v.Total.Amount || v.Total.Amount != q.Total || (v.Tax == nil) != (terms.Tax.Rate == 0) {
			t.Fatalf("the view's sums come to %d, its total is %d", paid, v.Total.Amount)
		}
	})
}

func checkTax(t *rapid.T, amount, tax int64, of catalog.Tax) {
	base := int64(100_000)
	if of.Included {
		base += int64(of.Rate)
	}
	if want := rounded(amount, int64(of.Rate), base); tax != want {
		t.Fatalf("the tax of %d is %d, want %d", amount, tax, want)
	}
}

// rounded is amount·part/of, half up, in numbers of any size: ⌊(2·amount·part + of) / (2·of)⌋.
func rounded(amount, part, of int64) int64 {
	n := new(big.Int).Mul(big.NewInt(amount), big.NewInt(2*part))
	n.Add(n, big.NewInt(of))
	return n.Quo(n, big.NewInt(2*of)).Int64()
}

func TestShareIsExact(t *testing.T) {
	t.Parallel()
	const most = 1<<62 - 1
	rapid.Check(t, func(t *rapid.T) {
		amount := rapid.Int64Range(0, most).Draw(t, "amount")
		of := rapid.OneOf(rapid.Int64Range(1, 10), rapid.Int64Range(1, most)).Draw(t, "of")
		part := rapid.Int64Range(0, of).Draw(t, "part")
		n := new(big.Int).Mul(big.NewInt(amount), big.NewInt(part))
		n.Add(n.Mul(n, big.NewInt(2)), big.NewInt(of))
		want := n.Quo(n, new(big.Int).Mul(big.NewInt(2), big.NewInt(of)))
		if got := share(amount, part, of); !want.IsInt64() || got != want.Int64() {
			t.Fatalf("share(%d, %d, %d) is %d, want %s", amount, part, of, got, want)
		}
	})
}

// Buying together costs what buying one by one costs, but for the order's fee and a
// code that is good for an order.
func TestTicketsArePricedOneByOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		terms := catalog.Terms{FeePerTicket: amounts(0).Draw(t, "fee"), Tax: catalog.Tax{
			Rate: catalog.Rate(rapid.IntRange(0, 100_000).Draw(t, "rate")), Included: rapid.Bool().Draw(t, "included"),
		}}
		l, ordinals := priced("EUR", terms, rapid.SliceOfN(amounts(0), 1, 20).Draw(t, "prices")...)
		promo := &Promo{Kind: PromoPercent, Value: rapid.Int64Range(1, 100_000).Draw(t, "percent")}
		together := NewQuote(l, ordinals, promo)
		for i, o := range ordinals {
			if alone := NewQuote(l, []int{o}, promo); alone.Items[0] != together.Items[i] {
				t.Fatalf("ticket %d costs %+v alone and %+v with others", i, alone.Items[0], together.Items[i])
			}
		}
	})
}

func TestPriceViewAsJSON(t *testing.T) {
	t.Parallel()
	l, ordinals := priced("USD", catalog.Terms{FeePerTicket: 450, FeePerOrder: 350, Tax: catalog.Tax{Name: "sales tax", Rate: 8875}}, 10_000)
	q := NewQuote(l, ordinals, &Promo{Code: "SPRING", Kind: PromoAmount, Value: 1000})
	doc, err := json.Marshal(q.View([]string{"a"}))
	if err != nil {
		t.Fatal(err)
	}
	usd := func(n string) string { return `{"amount": ` + n + `, "currency": "USD"}` }
	// 94.50 · 8.875 % = 8.386875
	want := `{"currency": "USD", "items": [{"ticket": "a", "price": ` + usd("10000") + `, "discount": ` + usd("1000") + `, "fee": ` + usd("450") +
		`, "tax": ` + usd("839") + `, "total": ` + usd("10289") + `}], "order_fee": ` + usd("350") + `, "order_fee_tax": ` + usd("31") +
		`, "subtotal": ` + usd("10000") + `, "discount": ` + usd("1000") + `, "fees": ` + usd("800") +
		`, "tax": {"name": "sales tax", "percent": "8.875", "included": false, "amount": ` + usd("870") + `}, "total": ` + usd("10670") + `, "promo": "SPRING"}`
	var got, wanted any
	if err := json.Unmarshal(doc, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &wanted); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, wanted) {
		t.Errorf("got  %s\nwant %s", doc, want)
	}
}

func TestRandomCodesAreWellFormedAndApart(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for range 2000 {
		code := newCode()
		if !promoPattern.MatchString(code) || len(code) != randomCode || strings.ContainsAny(code, "01IO") {
			t.Fatalf("%q is no code", code)
		}
		if seen[code] {
			t.Fatalf("%q came twice", code)
		}
		seen[code] = true
	}
}
