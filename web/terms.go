package web

import (
	"fmt"
	"strings"

	"onsale/catalog"
)

// termsText says what is to be known of an event's prices before tickets are
// chosen, in the words of the page that takes its place (ui/src/price.tsx); "" if
// the prices are all there is to pay.
func termsText(t catalog.Terms, currency string) string {
	var fees, parts []string
	for _, f := range [...]struct {
		amount int64
		per    string
	}{{t.FeePerTicket, "ticket"}, {t.FeePerOrder, "order"}} {
		if f.amount > 0 {
			fees = append(fees, formatMoney(catalog.Money{Amount: f.amount, Currency: currency})+" per "+f.per)
		}
	}
	of := "prices"
	if len(fees) > 0 {
		of = "prices and fees"
		parts = append(parts, "Plus fees: "+strings.Join(fees, " and ")+".")
	}
	switch tax := t.Tax.Rate.String() + "% " + t.Tax.Name; {
	case t.Tax.Rate == 0:
	case t.Tax.Included:
		parts = append(parts, fmt.Sprintf("All %s incl. %s.", of, tax))
	default:
		parts = append(parts, fmt.Sprintf("Plus %s on %s.", tax, of))
	}
	if c := t.Cancel; c != nil {
		until := "the start"
		switch {
		case c.UntilHours == 1:
			until = "1 hour before the start"
		case c.UntilHours > 1:
			until = fmt.Sprintf("%d hours before the start", c.UntilHours)
		}
		kept := ""
		if len(fees) > 0 && c.KeepsFees {
			kept = "; fees are not given back"
		}
		parts = append(parts, "You can cancel until "+until+kept+".")
	}
	return strings.Join(parts, " ")
}
