package messages

import (
	"onsale/catalog"
	"onsale/checkout"
	"onsale/checkout/mail"
)

// receipt is what an order costs, line by line, as its e-mails show it: with the
// tickets that came in the place of others, and without those.
func receipt(o *checkout.Order) mail.Order {
	r := mail.Order{ID: o.ID, Total: catalog.Money{Amount: o.Quote.OrderFeeTotal, Currency: o.Total.Currency}}
	tax := o.Quote.OrderFeeTax
	fees, discount := o.Quote.OrderFee, int64(0)
	for i := range o.Items {
		item := &o.Items[i]
		if item.Exchanged {
			continue
		}
		r.Items = append(r.Items, mail.Item{
			Section: item.Section, Row: item.Row, Seat: item.Seat, Tier: item.Tier, Price: item.Price, Returned: item.Returned != nil,
			Notes: notes(item.Attributes, item.Entrance),
		})
		r.Total.Amount += item.Cost.Total
		tax, fees, discount = tax+item.Cost.Tax, fees+item.Cost.Fee, discount+item.Cost.Discount
	}
	line := func(label string, amount int64) []mail.Line {
		if amount == 0 {
			return nil
		}
		return []mail.Line{{Label: label, Amount: catalog.Money{Amount: amount, Currency: o.Total.Currency}}}
	}
	if p := o.Quote.Promo; p != nil {
		r.Lines = append(r.Lines, line(p.Code, -discount)...)
	}
	r.Fees = line("", fees)
	taxes := line(o.Quote.Tax.Name+" "+o.Quote.Tax.Rate.String()+" %", tax)
	if o.Quote.Tax.Included {
		r.Taxes = taxes
	} else {
		r.TaxesOnTop = taxes
	}
	return r
}

// notes is what is to be known of a seat: its entrance, and what is special about
// it.
func notes(a catalog.Attributes, entrance string) string {
	if entrance != "" {
		entrance = "entrance: " + entrance
	}
	if a != 0 && entrance != "" {
		return a.Words() + "; " + entrance
	}
	return a.Words() + entrance
}
