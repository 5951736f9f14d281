package payment

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"onsale/catalog"
)

// checkAmount says why the amount cannot be charged in any gateway, "" if it can.
func checkAmount(amount int64, code string) string {
	if _, ok := catalog.CurrencyDecimals(code); !ok {
		return fmt.Sprintf("%q is not a currency", code)
	}
	if amount < 0 {
		return "an amount below nothing cannot be charged"
	}
	return ""
}

// What Stripe counts in other units than two decimals, by its documentation:
// currencies without decimals, those with three of which the last must be 0, and
// those that have none but are counted in hundredths all the same (ISK, UGX: they
// are simply not in the first list).
var (
	stripeWhole  = []string{"BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"}
	stripeThirds = []string{"BHD", "JOD", "KWD", "OMR", "TND"}
)

// stripeMost is the largest amount that Stripe takes, in its units.
const stripeMost = 99_999_999

func stripeExponent(code string) int {
	switch {
	case slices.Contains(stripeWhole, code):
		return 0
	case slices.Contains(stripeThirds, code):
		return 3
	}
	return 2
}

// toStripe converts minor units to Stripe's. why is not "" for what Stripe cannot
// charge; nothing is ever rounded.
func toStripe(amount int64, code string) (units int64, why string) {
	code = strings.ToUpper(code)
	if why := checkAmount(amount, code); why != "" {
		return 0, why
	}
	ours, _ := catalog.CurrencyDecimals(code)
	theirs := stripeExponent(code)
	units = amount
	for ; ours < theirs; ours++ {
		if units > math.MaxInt64/10 {
			return 0, "the amount is too large to be charged at once"
		}
		units *= 10
	}
	for ; ours > theirs; ours-- {
		if units%10 != 0 {
			return 0, fmt.Sprintf("an amount with decimals cannot be charged in %s", code)
		}
		units /= 10
	}
	switch {
	case theirs == 3 && units%10 != 0:
		return 0, fmt.Sprintf("an amount with a third decimal cannot be charged in %s", code)
	case units > stripeMost:
		return 0, "the amount is too large to be charged at once"
	}
	return units, ""
}

// fromStripe converts Stripe's units to minor units.
func fromStripe(units int64, code string) int64 {
	code = strings.ToUpper(code)
	ours, _ := catalog.CurrencyDecimals(code)
	theirs := stripeExponent(code)
	for ; ours > theirs; ours-- {
		units *= 10
	}
	for ; ours < theirs; ours++ {
		units /= 10
	}
	return units
}
