import { describe, expect, test } from 'vitest';
import { countStatus, decodeStatus } from '../src/map/status';

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
