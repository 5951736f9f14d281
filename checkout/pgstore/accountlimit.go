package pgstore

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
)

// accounted is what the limits per buyer need to know of those who have an account:
// the tickets and promo codes of all its devices count. Guests cost it nothing.
type accounted struct {
	accounts map[string]string    // by visitor
	bought   map[purse]int        // tickets of orders before, in the same transaction
	used     map[promoOfPurse]int // and uses of promo codes
}

// promoOfPurse is a promo code in the hands of an account.
type promoOfPurse struct{ account, promo string }

// purse is an account at an event.
type purse struct{ account, event string }

func (a *accounted) belongs(visitor string, account *string) {
	if account == nil {
		return
	}
	if a.accounts == nil {
		a.accounts, a.bought, a.used = map[string]string{}, map[purse]int{}, map[promoOfPurse]int{}
	}
	a.accounts[visitor] = *account
}

func (a *accounted) account(c creation) purse {
	return purse{a.accounts[c.order.Visitor], c.order.Event}
}

// buy counts an order for those behind it of the same account. A visitor's own orders
// are never in one transaction.
func (a *accounted) buy(c creation) {
	if of := a.account(c); of.account != "" {
		a.bought[of] += len(c.order.Items)
		if p := c.order.Quote.Promo; p != nil {
			a.used[promoOfPurse{of.account, p.ID}]++
		}
	}
}

// buyerOf is who an order's promo code counts for.
func (l *creating) buyerOf(c creation) promoBuyer {
	b := promoBuyer{user: l.users[c.order.Visitor]}
	if account := l.accounts[c.order.Visitor]; account != "" {
		b.account, b.uncommitted = &account, l.used[promoOfPurse{account, c.order.Quote.Promo.ID}]
	}
	return b
}

// countAccounts counts anew what buyers with an account have. The lock makes orders of
// an account queue up, as that on the user does for those of a device, and the count is
// a statement of its own, so that it sees what was committed meanwhile.
func (l *creating) countAccounts(ctx context.Context, tx pgx.Tx, calls []creation) error {
	if len(l.accounts) == 0 {
		return nil
	}
	var ids, accounts, events []string
	var numbers []int
	for n, c := range calls {
		if of := l.account(c); of.account != "" {
			accounts, events, numbers = append(accounts, of.account), append(events, of.event), append(numbers, n)
		}
	}
	ids = slices.Compact(slices.Sorted(slices.Values(accounts)))
	b := &pgx.Batch{}
	b.Queue(`select from accounts where id = any($1::uuid[]) order by id for no key update`, ids)
	b.Queue(`
		select w.n, (select count(*) from users u join tickets t on t.user_id = u.id
			where u.account_id = w.account and t.event_id = w.event)
		from unnest($1::uuid[], $2::uuid[], $3::int[]) as w (account, event, n)`, accounts, events, numbers).
		Query(func(rows pgx.Rows) error {
			var n, had int
			_, err := pgx.ForEachRow(rows, []any{&n, &had}, func() error {
				l.had[n] = had
				return nil
			})
			return err
		})
	return tx.SendBatch(ctx, b).Close()
}
