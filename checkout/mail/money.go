package mail

import (
	"fmt"

	"golang.org/x/text/currency"

	"onsale/catalog"
)

// Amount writes money with the decimals that its currency has.
func Amount(m catalog.Money) string {
	digits := 2
	if unit, err := currency.ParseISO(m.Currency); err == nil {
		digits, _ = currency.Standard.Rounding(unit)
	}
	sign, n := "", m.Amount
	if n < 0 {
		sign, n = "-", -n
	}
	if digits == 0 {
		return fmt.Sprintf("%s%d %s", sign, n, m.Currency)
	}
	unit := int64(1)
	for range digits {
		unit *= 10
	}
	return fmt.Sprintf("%s%d.%0*d %s", sign, n/unit, digits, n%unit, m.Currency)
}
