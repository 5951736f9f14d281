import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { clockText, now, observe, secondsUntil } from '../src/clock';

beforeEach(() => { vi.useFakeTimers({ now: Date.parse('2027-02-01T10:00:00Z') }); });
afterEach(() => {
  observe(new Date().toISOString());
  vi.useRealTimers();
});

describe('the server’s clock', () => {
  test('corrects a device clock that is five minutes slow', () => {
    observe('2027-02-01T10:05:00Z');
    expect(secondsUntil('2027-02-01T10:06:00Z')).toBe(60);
    vi.advanceTimersByTime(59_500);
    expect(secondsUntil('2027-02-01T10:06:00Z')).toBe(1);
    vi.advanceTimersByTime(500);
    expect(secondsUntil('2027-02-01T10:06:00Z')).toBe(0);
  });
  test('never counts below zero, and knows no countdown without a time', () => {
    expect(secondsUntil('2027-01-01T00:00:00Z')).toBe(0);
    expect(secondsUntil(null)).toBeNull();
    expect(secondsUntil('soon')).toBeNull();
  });
  test('keeps what it knows when a stamp cannot be read', () => {
    observe('2027-02-01T11:00:00Z');
    observe('nonsense');
    observe(null);
    expect(now()).toBe(Date.parse('2027-02-01T11:00:00Z'));
  });
});

test.each([[0, '0:00'], [9, '0:09'], [65, '1:05'], [3600, '1:00:00'], [3661, '1:01:01'], [200_000, '2d 07:33:20']])('%i seconds are %s', (s, text) => {
  expect(clockText(s)).toBe(text);
});
