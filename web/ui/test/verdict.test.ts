import { expect, test } from 'vitest';
import type { ScanResult, Scanned } from '../src/console/calls';
import { verdictOf } from '../src/console/verdict';

const of = (result: ScanResult, more: Partial<Scanned> = {}) => verdictOf({ id: '', result, ticket: null, scanned_at: null, scanned_by: null, gate: null, ...more }, (t) => `at ${t}`);
const results: ScanResult[] = ['admitted', 'already_scanned', 'not_valid', 'wrong_event', 'rotating_required', 'code_expired', 'transferred', 'refunded', 'cancelled', 'exchanged'];

test('one result alone lets in, and words differ for each', () => {
  expect(results.filter((r) => of(r).tone === 'good')).toEqual(['admitted']);
  expect(new Set(results.map((r) => of(r).word)).size).toBe(results.length);
});

test('shape tells as much as colour', () => {
  for (const r of results) expect(of(r).shape).toBe({ good: 'tick', warn: 'triangle', bad: 'cross' }[of(r).tone]);
});

test('a second scan says when, by whom and where the first was', () => {
  expect(of('already_scanned', { scanned_at: '19:04', scanned_by: 'admin', gate: 'North' }).text).toBe('Let in at 19:04, by admin, at North.');
  expect(of('already_scanned', { scanned_at: '19:04' }).text).toBe('Let in at 19:04.');
});
