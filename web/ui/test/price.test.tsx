import { render } from 'preact';
import { describe, expect, test } from 'vitest';
import type { Price } from '../src/api';
import { Breakdown, taxText, termsText } from '../src/price';

const plain = (s: string | null): string => (s ?? '').replace(/[\u00a0\u202f]/g, ' ');
const of = (currency: string) => (amount: number) => ({ amount, currency });

describe('an event’s terms in words', () => {
  const eur = of('EUR'), none = { per_ticket: eur(0), per_order: eur(0) };
  test.each([
    [{}, ''],
    [{ fees: none, tax: null, cancellation: null }, ''],
    [{ fees: { per_ticket: eur(150), per_order: eur(200) }, tax: { name: 'VAT', percent: '7', included: true } }, 'Plus fees: €1.50 per ticket and €2.00 per order. All prices and fees incl. 7% VAT.'],
    [{ fees: { per_ticket: of('JPY')(0), per_order: of('JPY')(330) } }, 'Plus fees: ¥330 per order.'],
    [{ fees: none, tax: { name: 'sales tax', percent: '8.875', included: false }, cancellation: { until_hours: 1, keep_fees: true } }, 'Plus 8.875% sales tax on prices. You can cancel until 1 hour before the start.'],
    [{ fees: { per_ticket: eur(150), per_order: eur(0) }, cancellation: { until_hours: 48, keep_fees: true } }, 'Plus fees: €1.50 per ticket. You can cancel until 48 hours before the start; fees are not given back.'],
    [{ fees: none, cancellation: { until_hours: 0, keep_fees: false } }, 'You can cancel until the start.'],
  ])('%j', (event, text) => expect(plain(termsText(event))).toBe(text));

  test('percents are exact, and written as the locale does', () => {
    expect(['0.001', '8.875', '7.7', '19', '100'].map((percent) => plain(taxText({ name: 'VAT', percent, included: true }, 'en'))))
      .toEqual(['0.001% VAT', '8.875% VAT', '7.7% VAT', '19% VAT', '100% VAT']);
    expect(plain(taxText({ name: 'MwSt', percent: '8.875', included: true }, 'de'))).toBe('8,875 % MwSt');
  });
});

describe('the sums of a price', () => {
  const price = (currency: string, more: Partial<Price>): Price => {
    const m = of(currency), zero = m(0), item = { ticket: 'a', price: zero, discount: zero, fee: zero, tax: zero, total: zero };
    return { currency, items: [item, item], order_fee: zero, order_fee_tax: zero, subtotal: zero, discount: zero, fees: zero, tax: null, total: zero, promo: null, ...more };
  };
  const lines = (p: Price): string[] => {
    const at = document.createElement('div');
    render(<Breakdown price={p} />, at);
    return [...at.querySelectorAll('dl > div')].map((d) => plain([...d.children].map((c) => c.textContent).join(' ')));
  };

  test('prices alone', () => {
    const m = of('EUR');
    expect(lines(price('EUR', { subtotal: m(9000), total: m(9000) }))).toEqual(['2 tickets €90.00', 'Total €90.00']);
  });
  test('a code, fees and tax on top', () => {
    const m = of('USD');
    expect(lines(price('USD', { subtotal: m(9000), discount: m(1000), promo: 'TENNER', fees: m(1250), tax: { name: 'sales tax', percent: '8.875', included: false, amount: m(821) }, total: m(10071) })))
      .toEqual(['2 tickets $90.00', 'Promo code TENNER -$10.00', 'Fees $12.50', '8.875% sales tax $8.21', 'Total $100.71']);
  });
  test('tax inside, in a currency without decimals', () => {
    const m = of('JPY');
    expect(lines(price('JPY', { subtotal: m(8800), fees: m(550), tax: { name: '消費税', percent: '10', included: true, amount: m(850) }, total: m(9350) })))
      .toEqual(['2 tickets ¥8,800', 'Fees ¥550', 'Total ¥9,350', 'Incl. 10% 消費税 ¥850']);
  });
});
