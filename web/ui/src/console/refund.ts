import type { Money, Order, Tax } from '../api';
import { decimals } from '../money';

/** What an order still holds of the money, in minor units. */
export const leftOf = (o: Pick<Order, 'total' | 'refunded'>): number => o.total.amount - (o.refunded?.amount ?? 0);
/** The tickets that were not given back. */
export const keptOf = (o: Pick<Order, 'items'>): Order['items'] => o.items.filter((i) => !i.returned_at);
/** Whether there is money in it that can go back. */
export const isPaid = (o: Pick<Order, 'status'>): boolean => ['paid', 'fulfilled', 'partially_refunded'].includes(o.status);

/** With the tax that comes on top, half a unit rounded up, as the server does. */
export function withTax(amount: number, tax: Pick<Tax, 'percent' | 'included'> | null): number {
  if (!tax || tax.included) return amount;
  const [whole = '0', part = ''] = tax.percent.split('.');
  const rate = BigInt(whole + part.padEnd(3, '0').slice(0, 3)); // thousandths of a percent
  return amount + Number((BigInt(amount) * rate * 2n + 100_000n) / 200_000n);
}

/** What goes back for one ticket: what was paid for it, without its fee if that is kept. */
export function ticketSum(o: Pick<Order, 'price'>, i: Order['items'][number], keepFees: boolean): number {
  const line = o.price?.items.find((x) => x.ticket === i.ticket);
  if (!line) return i.price.amount;
  return keepFees ? Math.min(withTax(line.price.amount - line.discount.amount, o.price!.tax), line.total.amount) : line.total.amount;
}

/** What goes back for these tickets, or for all that are left. The last of them take the order's own fee along. */
export function refundSum(o: Pick<Order, 'items' | 'price' | 'total' | 'refunded'>, tickets: string[] | null, keepFees: boolean): Money {
  const kept = keptOf(o), back = tickets ? kept.filter((i) => tickets.includes(i.ticket)) : kept, p = o.price;
  let amount = back.reduce((n, i) => n + ticketSum(o, i, keepFees), 0);
  if (p && back.length === kept.length && !keepFees) amount += p.order_fee.amount + (p.tax && !p.tax.included ? p.order_fee_tax.amount : 0);
  return { amount: Math.min(amount, leftOf(o)), currency: o.total.currency };
}

/** An amount as it is typed, with a point or a comma for decimals, in minor units; null if it is none of the currency. */
export function amountOf(text: string, currency: string): number | null {
  const n = decimals(currency), m = /^(\d{1,12})(?:[.,](\d+))?$/.exec(text.trim());
  if (!m || (m[2]?.length ?? 0) > n) return null;
  return Number(m[1]! + (m[2] ?? '').padEnd(n, '0'));
}
