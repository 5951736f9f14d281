import { describe, expect, test } from 'vitest';
import type { PlanDocument } from '../src/api';
import { noRow, readPlan, seatName } from '../src/map/plan';
import { legible } from '../src/map/paint';
import { fit, keepInside, zoomAt } from '../src/map/view';

const price = { amount: 1000, currency: 'EUR' };
const document: PlanDocument = {
  event: 'e', version: 1, width: 100, height: 50,
  tiers: [{ id: 'a', name: 'A', color: '#000', price }, { id: 'b', name: 'B', color: '#fff', price }],
  sections: [
    { id: 's', name: 'Stalls', kind: 'seated', first: 0, count: 5, rows: [
      { name: 'A', first: 0, x: [10, 20, 30], y: [5, 5, 5], seats: ['1', '2', '3'], tiers: [0, 2, 1, 1] },
      { name: 'B', first: 3, x: [10, 20], y: [15, 15], seats: ['7', '8'], tiers: [1, 2] },
    ] },
    { id: 'g', name: 'Floor', kind: 'ga', tier: 1, first: 5, count: 3, area: { x: 0, y: 20, width: 50, height: 20 } },
  ],
};

describe('readPlan', () => {
  const p = readPlan(document);
  test('puts every seat at its ordinal', () => {
    expect(p.total).toBe(8);
    expect([...p.x.slice(0, 5)]).toEqual([10, 20, 30, 10, 20]);
    expect([...p.tier]).toEqual([0, 0, 1, 1, 1, 1, 1, 1]);
    expect([...p.section]).toEqual([0, 0, 0, 0, 0, 1, 1, 1]);
  });
  test('gives general admission no place and no row', () => {
    expect(p.x[6]).toBeNaN();
    expect(p.row[6]).toBe(noRow);
  });
  test('measures the distance between neighbours', () => expect(p.spacing).toBe(10));
  test('names places', () => {
    expect(seatName(p, 4)).toBe('Stalls, row B, seat 8');
    expect(seatName(p, 7)).toBe('Floor');
  });
});

describe('view', () => {
  test('fits the plan into the window, centred', () => {
    const v = fit(100, 50, 400, 400);
    expect(v.k).toBeCloseTo(3.84);
    expect(v.x + 50 * v.k).toBeCloseTo(200);
    expect(v.y + 25 * v.k).toBeCloseTo(200);
  });
  test('zooms about a point, which stays where it is', () => {
    const v = { k: 2, x: 10, y: 20 }, w = zoomAt(v, 1.5, 70, 80, 0.1, 10);
    expect((70 - w.x) / w.k).toBeCloseTo((70 - v.x) / v.k);
    expect((80 - w.y) / w.k).toBeCloseTo((80 - v.y) / v.k);
  });
  test('keeps the zoom within its limits', () => expect(zoomAt({ k: 2, x: 0, y: 0 }, 100, 0, 0, 1, 4).k).toBe(4));
  test('never lets the plan leave the window', () => {
    for (const v of [{ k: 5, x: 9999, y: 9999 }, { k: 5, x: -9999, y: -9999 }, { k: 1, x: -9999, y: 9999 }]) {
      const w = keepInside(v, 100, 50, 300, 200);
      expect(w.x).toBeLessThan(300);
      expect(w.x + 100 * w.k).toBeGreaterThan(0);
      expect(w.y).toBeLessThan(200);
      expect(w.y + 50 * w.k).toBeGreaterThan(0);
    }
  });
});

test('legible picks the colour with more contrast', () => {
  expect(legible('#ffff00')).toBe('#000');
  expect(legible('#2563eb')).toBe('#fff');
  expect(legible('#fff')).toBe('#000');
});
