package checkout

import "onsale/catalog"

// PriceView is a Quote as the API shows it, line by line. The same document goes
// with a hold, with the answer to a promo code and with an order.
type PriceView struct {
	Currency    string          `json:"currency"`
	Items       []ItemPriceView `json:"items"`
	OrderFee    catalog.Money   `json:"order_fee"`
	OrderFeeTax catalog.Money   `json:"order_fee_tax"`
	// Sums of what stands above.
	Subtotal catalog.Money `json:"subtotal"` // prices of the tickets
	Discount catalog.Money `json:"discount"`
	Fees     catalog.Money `json:"fees"` // of the tickets and of the order
	Tax      *TaxView      `json:"tax"`  // nil: there is none
	Total    catalog.Money `json:"total"`
	Promo    *string       `json:"promo"` // the code, if one was used
}

// ItemPriceView is an ItemPrice with its ticket.
type ItemPriceView struct {
	Ticket   string        `json:"ticket"`
	Price    catalog.Money `json:"price"`
	Discount catalog.Money `json:"discount"`
	Fee      catalog.Money `json:"fee"`
	Tax      catalog.Money `json:"tax"`
	Total    catalog.Money `json:"total"`
}

// TaxView is a tax and what it comes to. If it is included, the amount is a part of
// prices and fees; otherwise it comes on top of them.
type TaxView struct {
	Name     string        `json:"name"`
	Percent  catalog.Rate  `json:"percent"`
	Included bool          `json:"included"`
	Amount   catalog.Money `json:"amount"`
}

// ShowPrice fills in what the API shows of the order's price: of the tickets it was
// made for, or that came in their place. What these cost less was given back.
func (o *Order) ShowPrice() {
	q := o.Quote
	q.Items = make([]ItemPrice, 0, len(o.Items))
	tickets := make([]string, 0, len(o.Items))
	for i := range o.Items {
		if item := &o.Items[i]; !item.Exchanged {
			q.Items, tickets = append(q.Items, item.Cost), append(tickets, item.Ticket)
		}
	}
	v := q.View(tickets)
	o.Price = &v
}

// View shows the quote of tickets with these ids, in the order of its items.
func (q *Quote) View(tickets []string) PriceView {
	money := func(amount int64) catalog.Money { return catalog.Money{Amount: amount, Currency: q.Currency} }
	v := PriceView{
		Currency: q.Currency, Items: make([]ItemPriceView, 0, len(q.Items)),
		OrderFee: money(q.OrderFee), OrderFeeTax: money(q.OrderFeeTax),
	}
	var prices, discount int64
	fees, tax, total := q.OrderFee, q.OrderFeeTax, q.OrderFeeTotal
	for i, ticket := range tickets {
		item := q.Items[i]
		v.Items = append(v.Items, ItemPriceView{
			Ticket: ticket, Price: money(item.Price), Discount: money(item.Discount), Fee: money(item.Fee),
			Tax: money(item.Tax), Total: money(item.Total),
		})
		prices, discount, fees, tax = prices+item.Price, discount+item.Discount, fees+item.Fee, tax+item.Tax
		total += item.Total
	}
	v.Subtotal, v.Discount, v.Fees, v.Total = money(prices), money(discount), money(fees), money(total)
	if q.Tax.Rate > 0 {
		v.Tax = &TaxView{Name: q.Tax.Name, Percent: q.Tax.Rate, Included: q.Tax.Included, Amount: money(tax)}
	}
	if q.Promo != nil {
		v.Promo = &q.Promo.Code
	}
	return v
}
