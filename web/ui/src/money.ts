import type { Money } from './api';
import { locale } from './locale';

const formats = new Map<string, Intl.NumberFormat>();

function format(currency: string, where: string, digits?: number): Intl.NumberFormat {
  const k = `${where}/${currency}/${digits}`;
  let f = formats.get(k);
  if (!f) formats.set(k, (f = new Intl.NumberFormat(where, { style: 'currency', currency, minimumFractionDigits: digits, maximumFractionDigits: digits })));
  return f;
}

// By ISO 4217, as the server's table. Intl has the decimals that prices are usually
// written with, which differ (HUF, IDR) and change from browser to browser.
const whole = 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF', thousandths = 'BHD IQD JOD KWD LYD OMR TND';

/** How many decimals the currency's minor unit stands for: 2 for EUR, 0 for JPY, 3 for KWD. */
export const decimals = (currency: string): number =>
  whole.includes(currency) ? 0 : thousandths.includes(currency) ? 3 : 2;

/** The amount as people of the locale write it, and in full; the page's language by default. */
export function moneyText(m: Money, where: string = locale()): string {
  const n = decimals(m.currency), value = m.amount / 10 ** n, usual = format(m.currency, where);
  const short = m.amount % 10 ** (n - Math.min(n, usual.resolvedOptions().maximumFractionDigits ?? 2));
  return (short ? format(m.currency, where, n) : usual).format(value);
}

/** The sum of prices of one currency; null for none. */
export function sum(prices: Money[]): Money | null {
  const first = prices[0];
  return first ? { amount: prices.reduce((a, p) => a + p.amount, 0), currency: first.currency } : null;
}
