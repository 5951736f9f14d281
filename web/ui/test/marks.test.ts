import { describe, expect, test } from 'vitest';
import type { PlanDocument } from '../src/api';
import { nearest } from '../src/event/choice';
import { accessible, aisle, bitsOf, companion, kinds, marksText, notesText, restricted } from '../src/map/marks';
import { readPlan } from '../src/map/plan';
import { sizesOf } from '../src/picture';

const price = { amount: 1000, currency: 'EUR' };
const document: PlanDocument = {
  event: 'e', version: 1, width: 100, height: 50,
  tiers: [{ id: 'a', name: 'A', color: '#000', price }, { id: 'b', name: 'B', type: 'companion', color: '#fff', price }],
  sections: [
    { id: 's', name: 'Stalls', kind: 'seated', first: 0, count: 7, entrance: 'Door B', rows: [
      { name: 'A', first: 0, x: [10, 20, 30, 40], y: [5, 5, 5, 5], seats: ['1', '2', '3', '4'], tiers: [0, 4], attributes: [0, 1, 9, 2, 2, 4] },
      { name: 'B', first: 4, x: [10, 20, 30], y: [15, 15, 15], seats: ['7', '8', '9'], tiers: [1, 1, 0, 2] },
    ] },
    { id: 'g', name: 'Floor', kind: 'ga', tier: 0, first: 7, count: 1, area: { x: 0, y: 20, width: 50, height: 20 } },
  ],
};

describe('marks of seats', () => {
  const p = readPlan(document);
  test('come from the plan and from the prices', () => expect([...p.marks]).toEqual([accessible | aisle, 0, restricted, restricted, companion, 0, 0, 0]));
  test('have a bit, a name and a symbol each', () => {
    expect(new Set(kinds.map((k) => k.bit)).size).toBe(4);
    expect(new Set(kinds.map((k) => k.path)).size).toBe(4);
    expect(kinds.reduce((n, k) => n | k.bit, 0)).toBe(15);
    for (const k of kinds) expect(bitsOf([k.name])).toBe(k.bit);
  });
  test('are said in words', () => {
    expect(marksText(0)).toBe('');
    expect(marksText(restricted | aisle)).toBe('restricted view, aisle');
    expect(notesText({})).toBe('');
    expect(notesText({ attributes: ['restricted_view'], entrance: 'Door B', type: 'companion' })).toBe('companion, restricted view · entrance: Door B');
    expect(notesText({ attributes: ['something_new'], type: 'standard' })).toBe('');
  });
  test('an ordinary seat is not replaced by an accessible one', () => {
    expect(nearest(p, (i) => i !== 1, [1])).toEqual([[2], [3], [5]]);
    expect(nearest(p, (i) => i === 0, [1])).toEqual([]);
  });
});

describe('pictures', () => {
  const at = (url: string, width: number, height: number, alt = 'A hall') => ({ url, alt, width, height });
  const images = [at('https://a.example/l.png', 1600, 900), at('https://b.example/m.png', 1200, 675), at('https://a.example/s.png', 800, 450), at('https://a.example/p.png', 600, 900), at('https://a.example/x.png', 1600, 900, 'Another')];
  test('are those of allowed origins, one picture in its sizes', () => expect(sizesOf(images, ['https://a.example']).map((i) => i.width)).toEqual([800, 1600]));
  test('are none without origins', () => {
    expect(sizesOf(images, [])).toEqual([]);
    expect(sizesOf(images, undefined)).toEqual([]);
    expect(sizesOf(undefined, ['https://a.example'])).toEqual([]);
    expect(sizesOf([at('not an address', 1, 1)], ['https://a.example'])).toEqual([]);
  });
});
