package config

import (
	"fmt"
	"strconv"
	"strings"
)

// CountryTax is the tax of one country's events that say nothing of theirs. As text
// it is "DE 7 included VAT": country, percent, whether prices contain it or it is
// added, and its name.
type CountryTax struct {
	Country  string // ISO 3166-1 alpha-2
	Rate     int    // thousandths of a percent
	Included bool
	Name     string
}

const taxForm = `a tax such as "DE 7 included VAT" or "US 8.875 added sales tax" is expected`

// UnmarshalText reads the text. Its errors name it.
func (t *CountryTax) UnmarshalText(text []byte) error {
	fields := strings.Fields(string(text))
	wrong := func(what string) error { return fmt.Errorf("%q: %s; %s", text, what, taxForm) }
	if len(fields) < 4 {
		return wrong("country, percent, included or added and a name are needed")
	}
	read := CountryTax{Country: fields[0], Included: fields[2] == "included", Name: strings.Join(fields[3:], " ")}
	if len(read.Country) != 2 || strings.Trim(read.Country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return wrong("the country must be two capital letters (ISO 3166-1)")
	}
	whole, part, dotted := strings.Cut(fields[1], ".")
	rate, err := strconv.ParseUint(whole+(part + "000")[:3], 10, 32)
	if err != nil || whole == "" || dotted && (part == "" || len(part) > 3) || rate > 100_000 {
		return wrong("the percent must be from 0 to 100 with at most three decimals")
	}
	read.Rate = int(rate)
	if !read.Included && fields[2] != "added" {
		return wrong("prices have it included, or it is added")
	}
	if len([]rune(read.Name)) > 50 {
		return wrong("the name is longer than 50 characters")
	}
	*t = read
	return nil
}

// MarshalText writes the text.
func (t CountryTax) MarshalText() ([]byte, error) {
	how := "added"
	if t.Included {
		how = "included"
	}
	percent := strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%d.%03d", t.Rate/1000, t.Rate%1000), "0"), ".")
	return fmt.Appendf(nil, "%s %s %s %s", t.Country, percent, how, t.Name), nil
}

// validateTaxes refuses two taxes of one country.
func (c *Config) validateTaxes(problems *Problems) {
	seen := make(map[string]bool)
	for _, t := range c.Checkout.Taxes {
		if seen[t.Country] {
			problems.addf("checkout.taxes: %s is listed twice", t.Country)
		}
		seen[t.Country] = true
	}
}
