import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

/** Checkout's state before a server that is the test: what a hold costs, with codes and without. */
let buy: typeof import('../src/checkout/purchase');
let asked: [method: string, path: string, body: Record<string, unknown>, key: string | null][];
let answers: Record<string, () => Response>;

const eur = (amount: number) => ({ amount, currency: 'EUR' });
const price = (total: number, promo: string | null = null) => ({ total: eur(total), discount: eur(0), promo, items: [] });
const hold = { hold: 'h1', tickets: [], total: eur(9000), price: price(9000), expires_at: '2030-01-01T00:00:00Z' };
const json = (body: unknown, status = 200) => new Response(JSON.stringify(body), { status });
const refused = (reason: string, detail: string) => json({ type: 'https://onsale.example/problems/promo-invalid', title: 'The promo code does not apply', status: 409, detail, reason }, 409);

async function open(): Promise<void> {
  vi.resetModules();
  buy = await import('../src/checkout/purchase');
  await buy.start();
}

beforeEach(async () => {
  sessionStorage.clear();
  history.replaceState(null, '', '/checkout/e1');
  asked = [];
  answers = {
    'GET holds': () => json({ holds: [hold] }),
    'POST price': () => json(price(8100, 'SPRING')),
    'POST orders': () => json({ order: 'o1', status: 'awaiting_payment', total: eur(8100), items: [] }, 201),
  };
  vi.stubGlobal('fetch', async (path: string, init: RequestInit) => {
    const answer = answers[`${init.method} ${path.split('/').pop()}`];
    asked.push([init.method!, path, init.body ? JSON.parse(init.body as string) : {}, new Headers(init.headers).get('idempotency-key')]);
    return answer ? answer() : json({}, 404);
  });
  await open();
});
afterEach(() => vi.unstubAllGlobals());

const orders = () => asked.filter(([, path]) => path === '/v1/orders');

describe('a promo code', () => {
  test('without one the hold’s own price counts, and none is sent', async () => {
    expect(buy.price.value!.total.amount).toBe(9000);
    await buy.placeOrder();
    expect(orders()[0]![2]).not.toHaveProperty('promo');
  });
  test('that counts is in the price and in the order, and survives a reload', async () => {
    expect(await buy.usePromo('spring')).toBe(true);
    expect(asked.at(-1)!.slice(0, 3)).toEqual(['POST', '/v1/events/e1/holds/h1/price', { promo: 'spring' }]);
    expect(buy.price.value!.total.amount).toBe(8100);
    await open();
    expect(buy.price.value!.total.amount).toBe(8100);
    await buy.placeOrder();
    expect(orders()[0]![2].promo).toBe('SPRING');
  });
  test('that does not count is said why, and the price stays', async () => {
    answers['POST price'] = () => refused('used_up', 'this promo code has been used up');
    expect(await buy.usePromo('GONE')).toBe(false);
    expect(buy.promoError.value).toBe('This promo code has been used up.');
    expect(buy.price.value!.total.amount).toBe(9000);
    expect(buy.notice.value).toBeNull();
    await buy.placeOrder();
    expect(orders()[0]![2]).not.toHaveProperty('promo');
  });
  test('too many wrong ones are said beside the field', async () => {
    answers['POST price'] = () => json({ type: 'x/too-many-requests', title: 'Too many requests', detail: 'too many promo codes that do not exist' }, 429);
    expect(await buy.usePromo('GUESS')).toBe(false);
    expect(buy.promoError.value).toBe('Too many promo codes that do not exist.');
  });
  test('can be taken out again, which is another order', async () => {
    await buy.usePromo('spring');
    answers['POST price'] = () => json(price(9000));
    answers['POST orders'] = () => json({ title: 'no' }, 500);
    await buy.placeOrder();
    await buy.usePromo('');
    expect(buy.price.value!.total.amount).toBe(9000);
    await buy.placeOrder();
    const [first, second] = orders();
    expect(second![2]).not.toHaveProperty('promo');
    expect(second![3]).not.toBe(first![3]);
  });
  test('that is used up when the order comes: nothing is ordered, and the price without it is shown', async () => {
    await buy.usePromo('spring');
    answers['POST orders'] = () => refused('used_up', 'this promo code has been used up');
    buy.review();
    await buy.placeOrder();
    expect([buy.step.value, buy.order.value, buy.price.value!.total.amount]).toEqual(['review', null, 9000]);
    expect(buy.promoError.value).toBe('This promo code has been used up.');
    answers['POST orders'] = () => json({ order: 'o1', status: 'awaiting_payment', total: eur(9000), items: [] }, 201);
    await buy.placeOrder();
    expect(orders()[1]![2]).not.toHaveProperty('promo');
    expect(orders()[1]![3]).not.toBe(orders()[0]![3]);
  });
  test('the server not answering is no verdict on the code', async () => {
    await buy.usePromo('spring');
    answers['POST price'] = () => json({ title: 'down' }, 503);
    expect(await buy.usePromo('other')).toBe(false);
    expect(buy.notice.value!.tone).toBe('bad');
    expect([buy.promoError.value, buy.price.value!.total.amount]).toEqual(['', 8100]);
  });
});
