import { describe, expect, test } from 'vitest';
import { type PlanDocument, Problem } from '../src/api';
import { byTier, nearest, open, openIn, placesText, readRefusal, requestOf, spread, withArea, word } from '../src/event/choice';
import { readPlan } from '../src/map/plan';

const price = { amount: 1000, currency: 'EUR' };
const line = (n: number, y: number): { x: number[]; y: number[] } => ({ x: Array.from({ length: n }, (_, i) => 10 * i + (i > 3 ? 30 : 0)), y: new Array(n).fill(y) });
const document: PlanDocument = {
  event: 'e', version: 1, width: 200, height: 80,
  tiers: [{ id: 'a', name: 'A', color: '#000', price }, { id: 'b', name: 'B', color: '#fff', price }],
  sections: [
    { id: 's', name: 'Stalls', kind: 'seated', first: 0, count: 16, rows: [
      { name: 'A', first: 0, ...line(8, 5), seats: ['1', '2', '3', '4', '5', '6', '7', '8'], tiers: [0, 8] }, // an aisle after seat 4
      { name: 'B', first: 8, ...line(8, 15), seats: ['16', '14', '12', '10', '4', '3', '2', '1'], tiers: [0, 6, 1, 2] },
    ] },
    { id: 'g', name: 'Floor', kind: 'ga', tier: 1, first: 16, count: 4, area: { x: 0, y: 20, width: 50, height: 20 } },
  ],
};
const p = readPlan(document);
const fans = { id: 'f', name: 'Fans', ranges: [[1, 2], [17, 17]] as [number, number][] }, house = { id: 'h', name: 'House', ranges: [[4, 4]] as [number, number][] };

describe('kept tickets', () => {
  const kept = spread([fans, house]);
  test('are spread by channel', () => expect([...kept]).toEqual([0, 1, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
  test('no channel keeps none', () => expect(spread([]).length).toBe(0));
  test('are open to their channel, as long as nobody has them', () => {
    const status = Uint8Array.from([0, 3, 1, 3]);
    expect([0, 1, 2, 3].map((i) => open(status, kept, i))).toEqual([true, true, false, false]);
  });
  test('are counted apart from general sale', () => {
    const status = new Uint8Array(20);
    status[17] = 3;
    status[18] = 2;
    expect(openIn(status, kept, 16, 4, 0)).toBe(2);
    expect(openIn(status, kept, 16, 4, 1)).toBe(1);
    expect(openIn(status, kept, 16, 4, 2)).toBe(0);
    // A ticket of the channel that was released is on general sale.
    status[17] = 0;
    expect(openIn(status, kept, 16, 4, 0)).toBe(3);
    expect(openIn(status, kept, 16, 4, 1)).toBe(0);
  });
});

describe('what is left, in a word', () => {
  test.each([[10, 0, 100, ''], [9, 0, 100, 'few left'], [0, 3, 100, 'few left'], [0, 0, 100, 'sold out']])('%i free, %i in baskets, of %i: %s', (free, held, total, said) => expect(word(free, held, total)).toBe(said));
  test('by tier', () => {
    const status = new Uint8Array(20).fill(2, 14);
    expect(byTier(p, status, new Uint8Array(0))).toEqual([{ free: 14, word: '' }, { free: 0, word: 'sold out' }]);
    expect(byTier(p, new Uint8Array(0), new Uint8Array(0))).toEqual([{ free: 0, word: '' }, { free: 0, word: '' }]);
  });
});

test('areas are set, changed and taken out', () => {
  const one = withArea([], 1, 0, 2), two = withArea(one, 1, 1, 1);
  expect(two).toEqual([{ section: 1, channel: 0, n: 2 }, { section: 1, channel: 1, n: 1 }]);
  expect(withArea(two, 1, 0, 5)).toEqual([{ section: 1, channel: 1, n: 1 }, { section: 1, channel: 0, n: 5 }]);
  expect(withArea(one, 1, 0, 0)).toEqual([]);
});

test('a request names seats, areas and channels, and nothing that was not chosen', () => {
  expect(requestOf(p, [3, 1], [], [])).toEqual({ ordinals: [3, 1] });
  expect(requestOf(p, [], [{ section: 1, channel: 1, n: 2 }], [fans])).toEqual({ areas: [{ section: 'g', quantity: 2, channel: 'f' }] });
  expect(requestOf(p, [3], [{ section: 1, channel: 0, n: 1 }], [fans])).toEqual({ ordinals: [3], areas: [{ section: 'g', quantity: 1 }] });
});

describe('refusals', () => {
  const read = (body: Record<string, unknown>) => readRefusal(new Problem(409, body));
  test('name what was taken and what can be had', () => expect(read({
    taken_ordinals: [3], alternatives: [{ tickets: ['x'], ordinals: [4] }, { ordinals: [5] }], alternatives_together: [{ ordinals: [6, 7] }], left: 4, area: 0,
  })).toEqual({ taken: [3], instead: [[4], [5]], together: [[6, 7]], singles: [], left: 4, area: 0 }));
  test('say nothing where there is nothing, or nonsense', () => {
    const nothing = { taken: [], instead: [], together: [], singles: [], left: null, area: null };
    expect(read({})).toEqual(nothing);
    expect(read({ taken_ordinals: 'x', alternatives: [null, { ordinals: [] }, 7], alternatives_together: {}, singles_ordinals: [null, 'a'], left: '4', area: null })).toEqual(nothing);
  });
});

describe('nearest', () => {
  const all = (): boolean => true;
  test('one seat: its neighbours first', () => expect(nearest(p, (i) => i !== 2, [2])).toEqual([[1], [3], [0]]));
  test('as many as were lost, in one row and without an aisle between', () => expect(nearest(p, (i) => i > 1, [0, 1])).toEqual([[2, 3], [4, 5], [6, 7]]));
  test('of the same price', () => expect(nearest(p, (i) => i >= 12, [13])).toEqual([[13], [12]]));
  test('none, if there are none', () => {
    expect(nearest(p, () => false, [1])).toEqual([]);
    expect(nearest(p, all, [0, 1, 2, 3, 4])).toEqual([]); // no row has five together
  });
});

describe('places in words', () => {
  test.each([
    [[2], 'Stalls, row A, seat 3'],
    [[3, 1, 2], 'Stalls, row A, seats 2–4'],
    [[12, 13, 14], 'Stalls, row B, seats 2–4'],
    [[8, 9, 10], 'Stalls, row B, seats 16, 14, 12'],
    [[7, 8], 'Stalls, row A, seat 8; Stalls, row B, seat 16'],
    [[0, 2], 'Stalls, row A, seat 1; Stalls, row A, seat 3'],
    [[16, 17, 18], 'Floor, 3 tickets'],
    [[16], 'Floor'],
  ])('%j', (ordinals, text) => expect(placesText(p, ordinals)).toBe(text));
});
