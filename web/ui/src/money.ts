import type { Money } from './api';
import { locale } from './locale';

const formats = new Map<string, Intl.NumberFormat>();

function format(currency: string, where: string): Intl.NumberFormat {
  const k = `${where}/${currency}`;
  let f = formats.get(k);
  if (!f) formats.set(k, (f = new Intl.NumberFormat(where, { style: 'currency', currency })));
  return f;
}

/** How many decimals the currency has: 2 for EUR, 0 for JPY, 3 for KWD. */
export const decimals = (currency: string): number => format(currency, 'en').resolvedOptions().maximumFractionDigits ?? 2;

/** The amount as people of the locale write it; the page's language by default. */
export function moneyText(m: Money, where: string = locale()): string {
  return format(m.currency, where).format(m.amount / 10 ** decimals(m.currency));
}

/** The sum of prices of one currency; null for none. */
export function sum(prices: Money[]): Money | null {
  const first = prices[0];
  return first ? { amount: prices.reduce((a, p) => a + p.amount, 0), currency: first.currency } : null;
}
