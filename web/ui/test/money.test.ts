import { describe, expect, test } from 'vitest';
import { decimals, moneyText, sum } from '../src/money';

describe('money', () => {
  test.each([
    ['EUR', 4550, 'en', '€45.50'],
    ['EUR', 4550, 'de', '45,50 €'],
    ['JPY', 4500, 'ja', '￥4,500'],
    ['JPY', 4500, 'en', '¥4,500'],
    ['KWD', 12345, 'en', 'KWD 12.345'],
    ['USD', 5, 'en', '$0.05'],
    ['HUF', 450000, 'en', 'HUF 4,500'],
    ['HUF', 450050, 'en', 'HUF 4,500.50'],
    ['IDR', 1500000, 'en', 'IDR 15,000'],
  ])('%s %i in %s is %s', (currency, amount, locale, text) => {
    expect(moneyText({ amount, currency }, locale).replace(/\u00a0/g, ' ')).toBe(text);
  });
  test('knows the decimals of a currency', () => {
    expect(['EUR', 'JPY', 'KWD', 'HUF', 'IDR', 'ISK'].map(decimals)).toEqual([2, 0, 3, 2, 2, 0]);
  });
  test('adds without rounding', () => {
    expect(sum([10, 20, 30].map((amount) => ({ amount, currency: 'EUR' })))).toEqual({ amount: 60, currency: 'EUR' });
    expect(sum([])).toBeNull();
  });
});
