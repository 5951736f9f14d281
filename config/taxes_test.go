package config_test

import (
	"slices"
	"strings"
	"testing"

	"onsale/config"
)

func TestTaxesAreReadFromListAndEnvironment(t *testing.T) {
	want := []config.CountryTax{
		{Country: "DE", Rate: 7000, Included: true, Name: "VAT"},
		{Country: "US", Rate: 8875, Name: "sales tax"},
		{Country: "JP", Rate: 10_000, Included: true, Name: "消費税"},
		{Country: "AE", Rate: 0, Name: "VAT"},
	}
	file, err := load(t, "checkout:\n  taxes:\n    - DE 7 included VAT\n    - US 8.875 added sales tax\n    - JP 10.0 included 消費税\n    - \"AE 0 added  VAT\"\n", nil, nil)
	if err != nil || !slices.Equal(file.Checkout.Taxes, want) {
		t.Errorf("the file says %+v, %v", file.Checkout.Taxes, err)
	}
	const line = "DE 7 included VAT,US 8.875 added sales tax,JP 10 included 消費税,AE 0 added VAT"
	environment, err := load(t, "", []string{"ONSALE_CHECKOUT_TAXES=" + line}, nil)
	if err != nil || !slices.Equal(environment.Checkout.Taxes, want) {
		t.Errorf("the environment says %+v, %v", environment.Checkout.Taxes, err)
	}
	var back []string
	for _, tax := range want {
		text, err := tax.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		back = append(back, string(text))
	}
	if got := strings.Join(back, ","); got != line {
		t.Errorf("written again it is %q", got)
	}
}

func TestWrongTaxesAreNamed(t *testing.T) {
	for _, test := range []struct{ entry, want string }{
		{"DE", "country, percent, included or added and a name are needed"},
		{"DE 7 included", "country, percent"},
		{"de 7 included VAT", "two capital letters"},
		{"DEU 7 included VAT", "two capital letters"},
		{"DE 7% included VAT", "percent must be"},
		{"DE -7 included VAT", "percent must be"},
		{"DE +7 included VAT", "percent must be"},
		{"DE 7. included VAT", "percent must be"},
		{"DE .5 included VAT", "percent must be"},
		{"DE 7.1234 included VAT", "percent must be"},
		{"DE 100.001 included VAT", "percent must be"},
		{"DE 7e1 included VAT", "percent must be"},
		{"DE 7 inside VAT", "prices have it included, or it is added"},
		{"DE 7 included " + strings.Repeat("x", 51), "longer than 50 characters"},
	} {
		for source, err := range map[string]error{
			"environment": func() error {
				_, err := load(t, "", []string{"ONSALE_CHECKOUT_TAXES=" + test.entry}, nil)
				return err
			}(),
			"file": func() error {
				_, err := load(t, "checkout:\n  taxes: [\""+test.entry+"\"]\n", nil, nil)
				return err
			}(),
		} {
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), `"`+test.entry+`"`) {
				t.Errorf("%s: %q gives %v", source, test.entry, err)
			}
		}
	}
	if _, err := load(t, "", []string{"ONSALE_CHECKOUT_TAXES=DE 7 included VAT,DE 19 included VAT"}, nil); err == nil || !strings.Contains(err.Error(), "DE is listed twice") {
		t.Errorf("two of one country give %v", err)
	}
}
