import { describe, expect, test } from 'vitest';
import { LiveStatus, countStatus, decodeStatus } from '../src/map/status';

const pack = (s: number[]): string => {
  const bytes = new Uint8Array(Math.ceil(s.length / 4));
  s.forEach((v, i) => { bytes[i >> 2]! |= v << ((i & 3) * 2); });
  return btoa(String.fromCharCode(...bytes));
};

describe('decodeStatus', () => {
  test('reads two bits a ticket, lowest first', () => {
    // 0b11_10_01_00: tickets 0 to 3 are available, held, sold, blocked.
    expect([...decodeStatus(btoa(String.fromCharCode(0b11100100)), 4)]).toEqual([0, 1, 2, 3]);
  });
  test('ignores the padding of the last byte', () => {
    expect([...decodeStatus(pack([2, 2, 2, 2, 1]), 5)]).toEqual([2, 2, 2, 2, 1]);
  });
  test('is the inverse of packing for any statuses', () => {
    const s = Array.from({ length: 1003 }, (_, i) => (i * 7 + (i >> 3)) & 3);
    expect([...decodeStatus(pack(s), s.length)]).toEqual(s);
  });
  test('refuses a text that is too short', () => {
    expect(() => decodeStatus(pack([0, 0, 0, 0]), 5)).toThrow(RangeError);
  });
  test('decodes 15,000 tickets in a few milliseconds', () => {
    const text = pack(Array.from({ length: 15_000 }, (_, i) => i & 3));
    const t = performance.now();
    decodeStatus(text, 15_000);
    expect(performance.now() - t).toBeLessThan(50);
  });
});

test('countStatus counts within a range', () => {
  expect(countStatus(Uint8Array.of(0, 0, 1, 2, 3, 0), 1, 5)).toEqual([1, 1, 1, 1]);
});

describe('LiveStatus', () => {
  const snapshot = (seq: number, ...s: number[]) => ({ seq, total: s.length, status: pack(s) });
  const delta = (prev: number, seq: number, ...changes: [number, number][]) => ({ type: 'delta' as const, prev, seq, changes });
  const begun = (): LiveStatus => {
    const l = new LiveStatus();
    expect(l.snapshot(snapshot(7, 0, 0, 0, 0, 0))).toBe(true);
    return l;
  };

  test('applies deltas that continue the frame before', () => {
    const l = begun();
    expect(l.delta(delta(7, 9, [1, 1], [4, 2]))).toEqual([1, 4]);
    expect(l.delta(delta(9, 10))).toEqual([]);
    expect(l.delta(delta(10, 11, [1, 0]))).toEqual([1]);
    expect([...l.status]).toEqual([0, 0, 0, 0, 2]);
    expect(l.seq).toBe(11);
  });
  test.each([
    ['a frame is missing', delta(8, 9, [1, 1])],
    ['the frame was there already', delta(6, 7, [1, 1])],
    ['the numbers went back', delta(2, 3, [1, 1])],
    ['the numbers go back', delta(7, 6, [1, 1])],
    ['there is no such ticket', delta(7, 8, [1, 1], [5, 1])],
  ])('applies nothing when %s, and says that a snapshot is needed', (_, d) => {
    const l = begun();
    expect(l.delta(d)).toBeNull();
    expect([...l.status]).toEqual([0, 0, 0, 0, 0]);
    expect(l.seq).toBe(7);
    l.snapshot(snapshot(12, 0, 1, 1, 0, 0));
    expect(l.delta(delta(12, 13, [0, 2]))).toEqual([0]);
    expect([...l.status]).toEqual([2, 1, 1, 0, 0]);
  });
  test('applies nothing after a gap either, until there is a snapshot', () => {
    const l = begun();
    expect(l.delta(delta(8, 9, [1, 1]))).toBeNull();
    expect(l.delta(delta(9, 10, [2, 1]))).toBeNull();
    expect([...l.status]).toEqual([0, 0, 0, 0, 0]);
  });
  test('needs a snapshot first', () => {
    expect(new LiveStatus().delta(delta(1, 2, [0, 1]))).toBeNull();
  });
  test('starts anew with a snapshot, also one of a lower number, or of other tickets', () => {
    const l = begun();
    expect(l.snapshot(snapshot(3, 2, 0, 0))).toBe(true);
    expect([...l.status]).toEqual([2, 0, 0]);
    expect(l.delta(delta(7, 8, [0, 1]))).toBeNull();
    expect(l.delta(delta(3, 4, [0, 0]))).toEqual([0]);
  });
  test('a snapshot of the same number that says something else counts', () => {
    const l = begun();
    l.status[3] = 1; // as the page believed for a moment
    expect(l.snapshot(snapshot(7, 0, 0, 0, 0, 0))).toBe(true);
    expect([...l.status]).toEqual([0, 0, 0, 0, 0]);
  });
  test('a snapshot that says what is known changes nothing but the number', () => {
    const l = begun(), same = l.status;
    expect(l.snapshot(snapshot(9, 0, 0, 0, 0, 0))).toBe(false);
    expect(l.status).toBe(same);
    expect(l.delta(delta(9, 10, [0, 1]))).toEqual([0]);
  });
});
