import { expect, test } from 'vitest';
import { auditOf, changes, csv, fieldOf, selectionOf, timeOf } from '../src/console/act';

test('only what changed is sent', () => {
  expect(changes({ a: 1, b: 2, c: '' }, { a: 1, b: 3, c: 'x' })).toEqual({ b: 2, c: '' });
});

test('a datetime field holds the minute, in the operator’s own zone, there and back', () => {
  for (const t of ['2027-02-01T10:00:00.000Z', '2027-07-31T23:59:00.000Z']) expect(timeOf(fieldOf(t))).toBe(t);
  expect(fieldOf(null)).toBe('');
  expect(timeOf('')).toBeNull();
});

test('CSV keeps quotes and commas, and gives spreadsheets no formulas', () => {
  expect(csv([['a', 'b"c', 'd,e'], ['=1+1', '@x', '-1']])).toBe('"a","b""c","d,e"\r\n"\'=1+1","\'@x","\'-1"\r\n');
});

test('the audit log of one room', () => {
  const e = (subject: string) => ({ at: '', actor: 'admin', action: 'x', subject });
  expect(auditOf([e('room-1'), e('room-1/visitors/v'), e('room-2'), e('order')], 'room-1').map((x) => x.subject)).toEqual(['room-1', 'room-1/visitors/v']);
});

test('a selection holds what was filled in, and everything if nothing was', () => {
  const none = { section: '', row: '', tier: '', quantity: '' };
  expect(selectionOf(none)).toEqual({ all: true });
  expect(selectionOf({ ...none, quantity: '20' })).toEqual({ all: true, quantity: 20 });
  expect(selectionOf({ ...none, section: 's', row: ' A ' })).toEqual({ section: 's', row: 'A' });
  expect(selectionOf({ ...none, row: 'A', tier: 't', quantity: '5' })).toEqual({ tier: 't', quantity: 5 }); // a row needs its section
});
