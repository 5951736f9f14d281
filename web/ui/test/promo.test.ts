import { expect, test } from 'vitest';
import { changeProblems, emptyPromo, promoChange, promoPatch, promoProblems, promoRequest } from '../src/console/promo';

test('what is wrong with a new code is said by field', () => {
  expect(Object.keys(promoProblems(emptyPromo, 'EUR'))).toEqual(['code', 'value']);
  const good = { ...emptyPromo, code: 'SPRING', value: '12,5' };
  expect(promoProblems(good, 'EUR')).toEqual({});
  for (const [change, field] of [
    [{ code: 'a b' }, 'code'], [{ value: '0' }, 'value'], [{ value: '100.5' }, 'value'], [{ value: '1.2345' }, 'value'], [{ off: 'amount' as const, value: '0' }, 'value'],
    [{ max: '0' }, 'max'], [{ each: 'x' }, 'each'], [{ kind: 'random' as const, quantity: '10001' }, 'quantity'], [{ from: '2027-01-02T00:00', until: '2027-01-01T00:00' }, 'until'],
  ] as const) expect(Object.keys(promoProblems({ ...good, ...change }, 'EUR'))).toEqual([field]);
});

test('only what was filled in is sent', () => {
  expect(promoRequest({ ...emptyPromo, code: ' SPRING ', value: '12,5', max: '500', each: '1' }, 'EUR')).toEqual({ code: 'SPRING', percent: '12.5', max_uses: 500, per_buyer: 1 });
  expect(promoRequest({ ...emptyPromo, kind: 'random', code: 'X', max: '9', each: '2', quantity: '20', prefix: 'FAN-', off: 'amount', value: '5' }, 'JPY')).toEqual({ quantity: 20, prefix: 'FAN-', amount: 5 });
});

test('a change of a code has what was changed, and lifts what is empty', () => {
  const p = { id: 'p', code: 'SPRING', percent: '10', amount: null, max_uses: 500, per_buyer: null, used: 17, starts_at: '2027-01-01T10:00:42Z', ends_at: null, active: true, note: 'News', created_at: '' };
  const f = promoChange(p);
  expect(promoPatch(p, f)).toEqual({});
  expect(promoPatch(p, { ...f, max: '17', each: '2', note: ' Old news ' })).toEqual({ max_uses: 17, per_buyer: 2, note: 'Old news' });
  expect(promoPatch(p, { ...f, max: ' ', from: '', until: '2027-02-01T00:00' })).toEqual({ max_uses: null, starts_at: null, ends_at: new Date('2027-02-01T00:00').toISOString() });
  expect(changeProblems(p, f)).toEqual({});
  for (const [change, field] of [[{ max: '16' }, 'max'], [{ max: '0' }, 'max'], [{ each: '1.5' }, 'each'], [{ until: '2027-01-01T00:00' }, 'until']] as const) {
    expect(Object.keys(changeProblems(p, { ...f, ...change }))).toEqual([field]);
  }
});
