import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Feed, type FeedOptions, type FeedState, backoff } from '../src/feed';

/** A WebSocket whose server is the test. */
class Socket {
  static all: Socket[] = [];
  sent: string[] = [];
  closed = false;
  onopen: (() => void) | null = null;
  onmessage: ((e: { data: string }) => void) | null = null;
  onclose: ((e: { code: number }) => void) | null = null;
  constructor(readonly url: string, readonly protocols: string[]) { Socket.all.push(this); }
  send(text: string): void { this.sent.push(text); }
  close(): void { this.closed = true; }
  static get last(): Socket { return Socket.all[Socket.all.length - 1]!; }
}

const states: FeedState[] = [];
const frames: unknown[] = [];
let polls = 0;
let feed: Feed;
const start = (o: Partial<FeedOptions> = {}): void => {
  feed = new Feed({ path: '/ws', message: (m) => frames.push(m), state: (s) => states.push(s), poll: async () => (polls++, 1000), ...o });
  feed.start();
};

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('WebSocket', Socket);
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
  Socket.all = [];
  states.length = frames.length = polls = 0;
});
afterEach(() => {
  feed?.stop();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

describe('backoff', () => {
  test('grows, is capped at half a minute, and is spread over its whole range', () => {
    expect([1, 2, 3, 4, 5, 6, 20].map((n) => backoff(n, 1006, () => 1))).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    expect([1, 6].map((n) => backoff(n, 1006, () => 0))).toEqual([250, 250]);
  });
  test('a server being replaced asks everybody back within five seconds', () => {
    expect(backoff(9, 4000, () => 0)).toBe(250);
    expect(backoff(9, 4000, () => 1)).toBe(5000);
  });
});

describe('Feed', () => {
  test('is live from the first frame on', () => {
    start({ protocol: 'onsale.v1', first: () => 'hello' });
    expect(Socket.last.protocols).toEqual(['onsale.v1']);
    expect(feed.state).toBe('connecting');
    Socket.last.onopen!();
    expect(Socket.last.sent).toEqual(['hello']);
    Socket.last.onmessage!({ data: '{"a":1}' });
    expect(states).toEqual(['live']);
    expect(frames).toEqual([{ a: 1 }]);
  });
  test('reconnects after a drop, and polls only after two failures in a row', async () => {
    start();
    Socket.last.onmessage!({ data: '{}' });
    Socket.last.onclose!({ code: 1006 });
    expect(states).toEqual(['live', 'reconnecting']);
    expect(polls).toBe(0);
    await vi.advanceTimersByTimeAsync(1000);
    expect(Socket.all).toHaveLength(2);
    Socket.last.onclose!({ code: 1006 });
    expect(states).toEqual(['live', 'reconnecting', 'polling']);
    await vi.advanceTimersByTimeAsync(3500);
    expect(polls).toBe(4);
  });
  test('leaves polling when the socket comes back', async () => {
    start();
    Socket.last.onclose!({ code: 1006 });
    await vi.advanceTimersByTimeAsync(1000);
    Socket.last.onclose!({ code: 1006 });
    await vi.advanceTimersByTimeAsync(30_000);
    expect(Socket.all).toHaveLength(3);
    Socket.last.onmessage!({ data: '{}' });
    const before = polls;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(polls).toBe(before);
    expect(feed.state).toBe('live');
  });
  test('goes on polling when a poll fails', async () => {
    start({ poll: () => (polls++, Promise.reject(new Error('down'))) });
    Socket.last.onclose!({ code: 1006 });
    await vi.advanceTimersByTimeAsync(1000);
    Socket.last.onclose!({ code: 1006 });
    await vi.advanceTimersByTimeAsync(20_000);
    expect(polls).toBeGreaterThan(2);
  });
  test('stays away when the close code says so', async () => {
    const codes: number[] = [];
    start({ closed: (c) => (codes.push(c), c === 4010) });
    Socket.last.onmessage!({ data: '{}' });
    Socket.last.onclose!({ code: 4010 });
    await vi.advanceTimersByTimeAsync(120_000);
    expect(codes).toEqual([4010]);
    expect(feed.state).toBe('stopped');
    expect(Socket.all).toHaveLength(1);
  });
  test('after stop nothing comes back', async () => {
    start();
    feed.stop();
    expect(Socket.last.closed).toBe(true);
    dispatchEvent(new Event('online'));
    await vi.advanceTimersByTimeAsync(120_000);
    expect(Socket.all).toHaveLength(1);
    expect(polls).toBe(0);
  });
  test('a restart takes a new socket and ignores the old one', () => {
    start();
    const old = Socket.last;
    old.onmessage!({ data: '{}' });
    feed.restart();
    expect(Socket.all).toHaveLength(2);
    old.onmessage!({ data: '{"late":true}' });
    old.onclose!({ code: 1000 });
    expect(frames).toEqual([{}]);
    expect(feed.state).toBe('reconnecting');
  });
  test('a restart that waits takes its socket later, and hears nothing until then', async () => {
    start();
    const old = Socket.last;
    old.onmessage!({ data: '{}' });
    feed.restart(700);
    expect(old.closed).toBe(true);
    old.onmessage!({ data: '{"late":true}' });
    await vi.advanceTimersByTimeAsync(699);
    expect(Socket.all).toHaveLength(1);
    expect(feed.state).toBe('reconnecting');
    await vi.advanceTimersByTimeAsync(1);
    expect(Socket.all).toHaveLength(2);
    Socket.last.onmessage!({ data: '{"again":true}' });
    expect(frames).toEqual([{}, { again: true }]);
    expect(states).toEqual(['live', 'reconnecting', 'live']);
    feed.restart(700);
    feed.stop();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(Socket.all).toHaveLength(2);
  });
  test('the network coming back is tried at once', () => {
    start();
    Socket.last.onmessage!({ data: '{}' });
    Socket.last.onclose!({ code: 1006 });
    dispatchEvent(new Event('online'));
    expect(Socket.all).toHaveLength(2);
  });
});
