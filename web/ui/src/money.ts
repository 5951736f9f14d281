import type { Money } from './api';

const formats = new Map<string, Intl.NumberFormat>();

function format(currency: string, locale: string | undefined): Intl.NumberFormat {
  const k = `${locale}/${currency}`;
  let f = formats.get(k);
  if (!f) formats.set(k, (f = new Intl.NumberFormat(locale, { style: 'currency', currency })));
  return f;
}

/** How many decimals the currency has: 2 for EUR, 0 for JPY, 3 for KWD. */
export const decimals = (currency: string): number => format(currency, 'en').resolvedOptions().maximumFractionDigits ?? 2;

/** The amount as people of the locale write it; the page's language by default. */
export function moneyText(m: Money, locale: string | undefined = documentLanguage()): string {
  return format(m.currency, locale).format(m.amount / 10 ** decimals(m.currency));
}

/** The sum of prices of one currency; null for none. */
export function sum(prices: Money[]): Money | null {
  const first = prices[0];
  return first ? { amount: prices.reduce((a, p) => a + p.amount, 0), currency: first.currency } : null;
}

const documentLanguage = (): string | undefined => (typeof document === 'undefined' ? undefined : document.documentElement.lang || undefined);
