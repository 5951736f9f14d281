import { expect, test } from 'vitest';
import type { Order } from '../src/api';
import { amountOf, leftOf, refundSum, withTax } from '../src/console/refund';

const m = (amount: number, currency = 'EUR') => ({ amount, currency });
/** Two tickets of 45.00 with 1.50 of fees each, 2.00 for the order. */
function order(tax: { name: string; percent: string; included: boolean } | null, more: Partial<Order> = {}): Order {
  const due = (n: number) => m(tax && !tax.included ? withTax(n, tax) : n), extra = (n: number) => m(due(n).amount - n);
  const items = ['a', 'b'].map((ticket) => ({ ticket, section: 'Stalls', row: 'A', seat: ticket, price: m(4500) }));
  const total = due(4650).amount * 2 + due(200).amount;
  return {
    order: 'o', event: 'e', status: 'paid', pay_by: null, total: m(total), refunded: m(0), items,
    price: {
      currency: 'EUR', promo: null, order_fee: m(200), order_fee_tax: extra(200), subtotal: m(9000), discount: m(0), fees: m(500), tax: tax && { ...tax, amount: m(0) }, total: m(total),
      items: items.map((i) => ({ ticket: i.ticket, price: m(4500), discount: m(0), fee: m(150), tax: extra(4650), total: due(4650) })),
    },
    ...more,
  };
}
const onTop = { name: 'sales tax', percent: '8.875', included: false };

test('tax is rounded half a unit up, without floating point', () => {
  expect(withTax(4650, onTop)).toBe(4650 + 413); // 412.6875
  expect(withTax(200, onTop)).toBe(218); // 17.75
  expect(withTax(100, { percent: '0.5', included: false })).toBe(101); // 0.5
  expect(withTax(9_007_199_254_740_000, { percent: '0', included: false })).toBe(9_007_199_254_740_000);
  expect(withTax(4650, { percent: '7', included: true })).toBe(4650);
  expect(withTax(4650, null)).toBe(4650);
});

test('everything goes back with the order’s own fee, one ticket without it', () => {
  for (const [tax, one, all] of [[null, 4650, 9500], [onTop, 5063, 5063 * 2 + 218]] as const) {
    expect(refundSum(order(tax), null, false)).toEqual(m(all));
    expect(refundSum(order(tax), ['a'], false)).toEqual(m(one));
    expect(refundSum(order(tax), ['a', 'b'], false)).toEqual(m(all));
  }
});

test('fees that are kept stay, with the tax on them', () => {
  expect(refundSum(order(null), null, true)).toEqual(m(9000));
  expect(refundSum(order(onTop), ['b'], true)).toEqual(m(withTax(4500, onTop)));
});

test('tickets that were given back count no more, and no more goes back than is left', () => {
  const o = order(null);
  o.items[0]!.returned_at = '2027-01-01T00:00:00Z';
  o.refunded = m(4650);
  expect(refundSum(o, null, false)).toEqual(m(4850)); // the last ticket takes the order's fee along
  o.refunded = m(9000);
  expect(leftOf(o)).toBe(500);
  expect(refundSum(o, null, false)).toEqual(m(500));
});

test('an amount is read as it is written, in the currency’s own decimals', () => {
  expect(amountOf('12.50', 'EUR')).toBe(1250);
  expect(amountOf(' 12,5 ', 'EUR')).toBe(1250);
  expect(amountOf('12', 'JPY')).toBe(12);
  expect(amountOf('1.234', 'KWD')).toBe(1234);
  for (const [text, currency] of [['12.345', 'EUR'], ['1.5', 'JPY'], ['', 'EUR'], ['€5', 'EUR'], ['-5', 'EUR'], ['1,000.00', 'EUR'], ['1e3', 'EUR']] as const) expect(amountOf(text, currency)).toBeNull();
});
