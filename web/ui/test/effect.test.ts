import { describe, expect, test } from 'vitest';
import type { AdminRoom } from '../src/api';
import { effectOf, minutesText, stayMinutes } from '../src/console/effect';

const room = (more: Partial<AdminRoom> = {}): AdminRoom => ({
  event: 'e', name: 'E', state: 'open', message: null, throttle: { rate_per_minute: 300, burst: 10, max_shoppers: 2000, lease_s: 600, claim_window_s: 60 },
  waiting: 6000, ready: 0, shopping: 1200, admitted_total: 0, joined_total: 0, admitted_last_minute: 300, tickets: null, wait: null, ...more,
});

describe('the effect of a throttle', () => {
  test('people stay as long as Little’s law says', () => {
    expect(stayMinutes(room())).toBe(4);
    expect(stayMinutes(room({ shopping: 0 }))).toBe(5);
    expect(stayMinutes(room({ admitted_last_minute: 10 }))).toBe(10);
  });
  test('the rate limits a shop with room', () => {
    expect(effectOf(room(), room().throttle)).toEqual({ perMinute: 300, drainMinutes: 20, shoppers: 1200, limit: 'rate' });
  });
  test('the cap limits a rate the shop cannot follow', () => {
    const e = effectOf(room(), { ...room().throttle, rate_per_minute: 2000 });
    expect(e).toEqual({ perMinute: 500, drainMinutes: 12, shoppers: 2000, limit: 'cap' });
  });
  test('a rate of nothing never drains the line', () => {
    expect(effectOf(room(), { ...room().throttle, rate_per_minute: 0 }).drainMinutes).toBeNull();
    expect(effectOf(room({ waiting: 0 }), { ...room().throttle, rate_per_minute: 0 }).drainMinutes).toBe(0);
  });
  test('a shorter lease shortens the stay', () => {
    expect(effectOf(room(), { ...room().throttle, lease_s: 60 }).shoppers).toBe(300);
  });
});

test.each([[0.2, 'under a minute'], [18.4, '18 min'], [200, '3 h 20 min']])('%f minutes are %s', (m, text) => expect(minutesText(m)).toBe(text));
