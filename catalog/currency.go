package catalog

import "strings"

// The currencies of ISO 4217 that people pay with, as of 2026, by how many
// decimals their minor unit has. Funds, metals and test codes are left out, and so
// are currencies that went out of use.
//
// Browsers and CLDR round some of them as people do at a till (HUF, IDR and COP
// to whole units); gateways and ISO 4217 do not, and amounts are theirs.
const (
	wholeCurrencies = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
	milliCurrencies = "BHD IQD JOD KWD LYD OMR TND"
	centCurrencies  = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD " +
		"CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD " +
		"HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT " +
		"MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB " +
		"SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS " +
		"VED VES WST XCD XCG YER ZAR ZMW ZWG"
)

var currencyDecimals = func() map[string]int {
	m := make(map[string]int)
	for codes, decimals := range map[string]int{wholeCurrencies: 0, centCurrencies: 2, milliCurrencies: 3} {
		for code := range strings.FieldsSeq(codes) {
			m[code] = decimals
		}
	}
	return m
}()

// CurrencyDecimals is how many decimals the minor unit of a currency has: 2 for
// EUR, 0 for JPY, 3 for KWD. known is false for anything that is not the code of a
// currency in use.
func CurrencyDecimals(code string) (decimals int, known bool) {
	decimals, known = currencyDecimals[code]
	return decimals, known
}
