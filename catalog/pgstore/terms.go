package pgstore

import (
	"github.com/jackc/pgx/v5"

	"onsale/catalog"
)

// selectTerms are the columns that termsRow reads, of events e.
const selectTerms = `e.fee_per_ticket, e.fee_per_order, e.tax_name, e.tax_rate, e.tax_included, e.cancel_until_h, e.cancel_keeps_fees`

type termsRow struct {
	catalog.Terms

	until *int
	keeps bool
}

func (t *termsRow) into() []any {
	return []any{&t.FeePerTicket, &t.FeePerOrder, &t.Tax.Name, &t.Tax.Rate, &t.Tax.Included, &t.until, &t.keeps}
}

func (t *termsRow) terms() catalog.Terms {
	if t.until != nil {
		t.Cancel = &catalog.CancelPolicy{UntilHours: *t.until, KeepsFees: t.keeps}
	}
	return t.Terms
}

// termsArgs adds the values of the columns to args.
func termsArgs(t catalog.Terms, args pgx.NamedArgs) pgx.NamedArgs {
	args["fee_per_ticket"], args["fee_per_order"] = t.FeePerTicket, t.FeePerOrder
	args["tax_name"], args["tax_rate"], args["tax_included"] = t.Tax.Name, int(t.Tax.Rate), t.Tax.Included
	args["cancel_until_h"], args["cancel_keeps_fees"] = nil, true
	if t.Cancel != nil {
		args["cancel_until_h"], args["cancel_keeps_fees"] = t.Cancel.UntilHours, t.Cancel.KeepsFees
	}
	return args
}

// patchTerms changes what a patch gives; termsPatchArgs are its arguments.
const patchTerms = `
       fee_per_ticket = coalesce(@fee_per_ticket, fee_per_ticket), fee_per_order = coalesce(@fee_per_order, fee_per_order),
       tax_name = case when @tax::boolean then @tax_name else tax_name end,
       tax_rate = case when @tax then @tax_rate::integer else tax_rate end,
       tax_included = case when @tax then @tax_included::boolean else tax_included end,
       cancel_until_h = case when @cancel::boolean then @cancel_until_h::integer else cancel_until_h end,
       cancel_keeps_fees = case when @cancel then @cancel_keeps_fees::boolean else cancel_keeps_fees end`

func termsPatchArgs(p catalog.EventPatch, args pgx.NamedArgs) pgx.NamedArgs {
	args = termsArgs(catalog.Terms{Tax: p.Tax.Value.Tax(), Cancel: p.Cancel.Value.Policy()}, args)
	args["fee_per_ticket"], args["fee_per_order"] = nil, nil
	if p.Fees != nil {
		args["fee_per_ticket"], args["fee_per_order"] = p.Fees.PerTicket, p.Fees.PerOrder
	}
	args["tax"], args["cancel"] = p.Tax.Given, p.Cancel.Given
	return args
}
