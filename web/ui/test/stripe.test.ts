import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

let stripe: typeof import('../src/checkout/stripe');

beforeEach(async () => {
  vi.resetModules();
  document.head.replaceChildren();
  stripe = await import('../src/checkout/stripe');
});
afterEach(() => { delete window.Stripe; });

describe('amounts in Stripe’s units', () => {
  test.each([
    ['EUR', 4500, 4500], ['JPY', 1200, 1200], ['KWD', 12340, 12340], ['ISK', 45, 4500], ['UGX', 700, 70000], ['MGA', 1200, 12],
  ])('%s %d', (currency, amount, want) => {
    expect(stripe.units({ amount, currency })).toBe(want);
  });
});

describe('the script', () => {
  const append = () => vi.spyOn(document.head, 'append').mockImplementation((s) => { queueMicrotask(() => (s as HTMLScriptElement).onload!(new Event('load'))); });

  test('is Stripe’s own, and loaded once', async () => {
    const made = vi.fn(() => ({}) as never);
    window.Stripe = made;
    const appended = append();
    const [a, b] = await Promise.all([stripe.load('pk_1'), stripe.load('pk_1')]);
    expect(a).toBe(b);
    expect(made).toHaveBeenCalledExactlyOnceWith('pk_1');
    expect(appended).toHaveBeenCalledOnce();
    expect((appended.mock.calls[0]![0] as HTMLScriptElement).src).toMatch(/^https:\/\/js\.stripe\.com\//);
  });

  test('that does not work may be tried again', async () => {
    append();
    await expect(stripe.load('pk_1')).rejects.toThrow('could not be started');
    window.Stripe = () => ({}) as never;
    await expect(stripe.load('pk_1')).resolves.toBeDefined();
  });
});
