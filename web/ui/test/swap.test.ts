import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Order } from '../src/api';
import { Exchange } from '../src/order/swap';

/** One exchange behind a feed and an API that are the test. */
class Socket {
  static last: Socket;
  onopen: (() => void) | null = null;
  onmessage: ((e: { data: string }) => void) | null = null;
  onclose: ((e: { code: number }) => void) | null = null;
  constructor() { Socket.last = this; }
  send(): void { /* nothing is sent */ }
  close(): void { /* nobody hears of it */ }
  says(frame: unknown): void { this.onmessage!({ data: JSON.stringify(frame) }); }
}

const eur = (amount: number) => ({ amount, currency: 'EUR' });
const item = (ticket: string, seat: string, price: number) => ({ ticket, section: 'Stalls', row: 'A', seat, price: eur(price) });
const order = { order: 'o1', event: 'e1', status: 'fulfilled', total: eur(9000), items: [item('t0', '1', 4500), item('t1', '2', 4500)] } as unknown as Order;
const plan = {
  event: 'e1', version: '1', width: 100, height: 100,
  tiers: [{ id: 'a', name: 'Stalls', color: '#111111', price: eur(4500) }, { id: 'b', name: 'Box', color: '#222222', price: eur(9000) }, { id: 'c', name: 'Floor', color: '#333333', price: eur(1000) }],
  sections: [
    { id: 's', name: 'Stalls', kind: 'seated', first: 0, count: 6, rows: [{ name: 'A', first: 0, x: [1, 2, 3, 4, 5, 6], y: [1, 1, 1, 1, 1, 1], seats: ['1', '2', '3', '4', '5', '6'], tiers: [0, 4, 1, 2] }] },
    { id: 'f', name: 'Floor', kind: 'ga', tier: 2, first: 6, count: 2 },
  ],
};
/** Seats 1 and 2 are sold: they are the order's. */
const snapshot = { type: 'snapshot', seq: 7, total: 8, status: btoa(String.fromCharCode(0b00001010, 0)) };
const held = { order: 'o1', tickets: ['t0'], hold: { hold: 'h1', event: 'e1', expires_at: '2031-01-01T00:00:00Z', tickets: [] }, paid: eur(4500), cost: eur(1000), back: eur(3500) };

type Answer = { status: number; body?: unknown } | 'lost';
let sent: { call: string; body: unknown; key: string | null }[], answers: Record<string, Answer[]>, x: Exchange, done: Order[];
const problem = (status: number, code: string, more = {}): Answer => ({ status, body: { type: `/problems/${code}`, title: code, ...more } });

beforeEach(() => {
  sent = [];
  done = [];
  answers = {};
  vi.stubGlobal('WebSocket', Socket);
  vi.stubGlobal('fetch', async (path: string, init: RequestInit) => {
    const call = `${init.method} ${path.replace('/v1/', '')}`;
    sent.push({ call, body: init.body ? JSON.parse(init.body as string) : null, key: new Headers(init.headers).get('idempotency-key') });
    const usual: Record<string, unknown> = {
      'GET orders/o1/exchange': { order: 'o1', allowed: true, why: '', until: null, tickets: [{ ticket: 't0', allowed: true, why: '', paid: eur(4500) }, { ticket: 't1', allowed: true, why: '', paid: eur(4500) }] },
      'GET events/e1': { id: 'e1' }, 'GET events/e1/plan': plan, 'GET events/e1/availability': snapshot,
      'POST orders/o1/exchange/hold': held, 'DELETE orders/o1/exchange/hold': null, 'POST orders/o1/exchange': { ...order, items: [] }, 'GET orders/o1': order,
    };
    const a = answers[call]?.shift() ?? { status: 200, body: usual[call] };
    if (a === 'lost') throw new TypeError('no answer');
    return new Response(JSON.stringify(a.body), { status: a.status });
  });
  x = new Exchange(order, 'token', (o) => done.push(o));
});
afterEach(() => { x.close(); vi.unstubAllGlobals(); });

async function toSeats(...tickets: string[]): Promise<void> {
  await x.begin();
  x.give.value = tickets;
  await x.seats();
}
const calls = (call: string) => sent.filter((s) => s.call === call);

describe('the choice', () => {
  test('takes as many as are given back, seats and places of areas together', async () => {
    await toSeats('t0', 't1');
    expect(x.step.value).toBe('seats');
    x.toggle(0); // sold: one's own
    x.toggle(2);
    x.setQuantity(1, 0, 3);
    expect([...x.chosen.value]).toEqual([2]);
    expect(x.quantity(1)).toBe(1);
    expect(x.notice.value!.text).toContain('You give 2 tickets back');
    x.toggle(3);
    expect(x.count.value).toBe(2);
    x.toggle(2);
    expect(x.count.value).toBe(1);
    await x.review();
    expect(x.notice.value!.text).toContain('1 more seat:');
    expect(calls('POST orders/o1/exchange/hold')).toEqual([]);
    x.toggle(3);
    await x.review();
    expect(calls('POST orders/o1/exchange/hold')[0]!.body).toEqual({ tickets: ['t0', 't1'], ordinals: [3], areas: [{ section: 'f', quantity: 1 }] });
  });
  test('of one ticket is another one with each click', async () => {
    await toSeats('t0');
    x.toggle(2);
    x.toggle(3);
    expect([...x.chosen.value]).toEqual([3]);
  });
  test('says how much dearer it is', async () => {
    await toSeats('t0');
    x.toggle(2);
    expect(x.dearer.value).toBeNull();
    x.toggle(4);
    expect(x.dearer.value).toEqual(eur(4500));
  });
  test('loses what somebody else gets, and says so', async () => {
    await toSeats('t0', 't1');
    Socket.last.says(snapshot);
    x.toggle(2);
    x.toggle(3);
    Socket.last.says({ type: 'delta', prev: 7, seq: 8, changes: [[3, 1]] });
    expect([...x.chosen.value]).toEqual([2]);
    expect(x.notice.value!.text).toContain('Stalls, row A, seat 4 has just been taken');
  });
});

describe('refusals of the hold', () => {
  test.each([
    ['taken', problem(409, 'tickets-taken', { taken_ordinals: [2] }), 'seat 3 has just been taken', []],
    ['dearer', problem(409, 'conflict', { difference: 250 }), '€2.50 more', [2]],
    ['single seats', problem(409, 'single-seats', { detail: 'a seat would be left alone' }), 'A seat would be left alone.', [2]],
    ['anything else', problem(409, 'conflict', { detail: 'the ticket was scanned' }), 'The ticket was scanned.', [2]],
  ] as [string, Answer, string, number[]][])('%s', async (_, answer, says, rest) => {
    await toSeats('t0');
    x.toggle(2);
    answers['POST orders/o1/exchange/hold'] = [answer];
    await x.review();
    expect(x.step.value).toBe('seats');
    expect(x.notice.value!.text).toContain(says);
    expect([...x.chosen.value]).toEqual(rest);
  });
});

describe('the exchange', () => {
  const exchange = 'POST orders/o1/exchange';
  async function toSure(): Promise<void> {
    await toSeats('t0');
    x.setQuantity(1, 0, 1);
    await x.review();
    expect(x.step.value).toBe('sure');
  }

  test('is asked for once, however often one clicks', async () => {
    await toSure();
    await Promise.all([x.confirm(), x.confirm(), x.confirm()]);
    expect(calls(exchange)).toHaveLength(1);
    expect(calls(exchange)[0]!.body).toEqual({ tickets: ['t0'], hold: 'h1' });
    expect(x.step.value).toBe('done');
    expect(x.outcome.value).toBe('1 ticket is exchanged, and €35.00 is on the way to you.');
    expect(done).toHaveLength(1);
  });
  test('has the same key after lost answers, and the hold is kept for it', async () => {
    await toSure();
    answers[exchange] = ['lost', { status: 503, body: {} }];
    await x.confirm();
    expect(x.notice.value!.text).toContain('never done twice');
    x.ranOut(); // its hold may be over because it was done
    expect(x.step.value).toBe('sure');
    await x.confirm();
    await x.confirm();
    const keys = calls(exchange).map((c) => c.key);
    expect(keys).toHaveLength(3);
    expect(keys[0]).toBeTruthy();
    expect(new Set(keys).size).toBe(1);
    expect(x.step.value).toBe('done');
  });
  test('has another key for another choice', async () => {
    await toSure();
    answers[exchange] = [problem(409, 'hold-lapsed')];
    await x.confirm();
    expect(x.step.value).toBe('seats');
    expect(x.notice.value!.text).toContain('ran out');
    await x.review();
    await x.confirm();
    expect(new Set(calls(exchange).map((c) => c.key)).size).toBe(2);
  });
  test('that may have been done is looked up before other seats are chosen', async () => {
    await toSure();
    answers[exchange] = ['lost'];
    await x.confirm();
    await x.other();
    expect(calls('DELETE orders/o1/exchange/hold')).toEqual([]);
    expect(done).toHaveLength(1);
    expect(x.step.value).toBe('which');
  });
  test('gives its seats up for others, and when it is left', async () => {
    await toSure();
    await x.other();
    expect(x.step.value).toBe('seats');
    await x.review();
    x.close();
    expect(calls('DELETE orders/o1/exchange/hold')).toHaveLength(2);
    expect(x.step.value).toBe('closed');
  });
  test('of a ticket that was scanned meanwhile goes back to the choice of tickets', async () => {
    await toSure();
    answers[exchange] = [problem(409, 'conflict', { detail: 'the ticket was scanned at the door' })];
    answers['GET orders/o1/exchange'] = [{ status: 200, body: { order: 'o1', allowed: false, why: 'all gone', until: null, tickets: [] } }];
    await x.confirm();
    expect(x.step.value).toBe('which');
    expect(x.give.value).toEqual([]);
    expect(x.notice.value!.text).toContain('scanned at the door');
  });
  test('is not begun where nothing can be exchanged', async () => {
    answers['GET orders/o1/exchange'] = [{ status: 200, body: { order: 'o1', allowed: false, why: 'the terms do not allow it', until: null, tickets: [] } }];
    await x.begin();
    expect(x.step.value).toBe('closed');
    expect(x.notice.value!.text).toBe('The terms do not allow it.');
  });
});
