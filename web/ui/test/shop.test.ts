import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

/** The event page's state behind a feed and an API that are the test. */
class Socket {
  static all: Socket[] = [];
  closed = false;
  onopen: (() => void) | null = null;
  onmessage: ((e: { data: string }) => void) | null = null;
  onclose: ((e: { code: number }) => void) | null = null;
  constructor(readonly url: string) { Socket.all.push(this); }
  send(): void { /* the page sends nothing */ }
  close(): void { this.closed = true; }
  says(frame: unknown): void { this.onmessage!({ data: JSON.stringify(frame) }); }
}

const snapshot = (seq: number, ...s: number[]) => {
  const bytes = new Uint8Array(Math.ceil(s.length / 4));
  s.forEach((v, i) => { bytes[i >> 2]! |= v << ((i & 3) * 2); });
  return { type: 'snapshot', seq, total: s.length, status: btoa(String.fromCharCode(...bytes)) };
};
const delta = (prev: number, seq: number, ...changes: [number, number][]) => ({ type: 'delta', prev, seq, changes });

let shop: typeof import('../src/event/shop');
let availability: () => Promise<unknown>;

beforeEach(async () => {
  vi.useFakeTimers();
  vi.resetModules();
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
  vi.stubGlobal('WebSocket', Socket);
  vi.stubGlobal('fetch', async (path: string) => {
    if (!path.endsWith('/availability')) return new Response('{}', { status: 404 });
    return new Response(JSON.stringify(await availability()));
  });
  Socket.all = [];
  availability = async () => snapshot(7, 0, 0, 0, 0);
  history.replaceState(null, '', '/events/e1');
  shop = await import('../src/event/shop');
  await shop.start();
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

describe('the live seats', () => {
  test('follow snapshot and deltas', () => {
    const [s] = Socket.all;
    expect(s!.url).toMatch(/\/v1\/events\/e1\/live$/);
    s!.says(snapshot(7, 0, 0, 0, 0));
    s!.says(delta(7, 8, [1, 1], [2, 2]));
    expect([...shop.status]).toEqual([0, 1, 2, 0]);
    expect(shop.lastChange).toEqual([1, 2]);
    expect(shop.link.value).toBe('live');
  });
  test('after a gap the delta is not applied, and a new socket brings all seats', async () => {
    const [s] = Socket.all;
    s!.says(snapshot(7, 0, 0, 0, 0));
    s!.says(delta(8, 9, [1, 1]));
    expect([...shop.status]).toEqual([0, 0, 0, 0]);
    expect(s!.closed).toBe(true);
    expect(shop.link.value).toBe('reconnecting');
    await vi.advanceTimersByTimeAsync(1000);
    expect(Socket.all).toHaveLength(2);
    Socket.all[1]!.says(snapshot(9, 1, 1, 0, 0));
    Socket.all[1]!.says(delta(9, 10, [3, 2]));
    expect([...shop.status]).toEqual([1, 1, 0, 2]);
    expect(shop.link.value).toBe('live');
  });
  test('numbers that go back bring all seats too', async () => {
    const [s] = Socket.all;
    s!.says(snapshot(7, 0, 0, 0, 0));
    s!.says(snapshot(3, 2, 0, 0, 0));
    expect([...shop.status]).toEqual([2, 0, 0, 0]);
    s!.says(delta(3, 4, [1, 1]));
    expect([...shop.status]).toEqual([2, 1, 0, 0]);
    s!.says(delta(1, 2, [3, 1]));
    expect([...shop.status]).toEqual([2, 1, 0, 0]);
    await vi.advanceTimersByTimeAsync(1000);
    expect(Socket.all).toHaveLength(2);
  });
  test('a poll that was under way when the socket came back is too late', async () => {
    Socket.all[0]!.onclose!({ code: 1006 });
    await vi.advanceTimersByTimeAsync(1000);
    let answer: (s: unknown) => void = () => {};
    availability = () => new Promise((ok) => { answer = ok; });
    Socket.all[1]!.onclose!({ code: 1006 });
    expect(shop.link.value).toBe('polling');
    await vi.advanceTimersByTimeAsync(30_000);
    Socket.all[2]!.says(snapshot(9, 1, 1, 1, 1));
    answer(snapshot(8, 0, 1, 1, 1));
    await vi.advanceTimersByTimeAsync(1000);
    expect([...shop.status]).toEqual([1, 1, 1, 1]);
    Socket.all[2]!.says(delta(9, 10, [0, 2]));
    expect([...shop.status]).toEqual([2, 1, 1, 1]);
  });
  test('polling shows what it fetches', async () => {
    Socket.all[0]!.onclose!({ code: 1006 });
    await vi.advanceTimersByTimeAsync(1000);
    availability = async () => snapshot(8, 0, 0, 0, 2);
    Socket.all[1]!.onclose!({ code: 1006 });
    await vi.advanceTimersByTimeAsync(100);
    expect([...shop.status]).toEqual([0, 0, 0, 2]);
  });
});
