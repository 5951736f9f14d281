import { describe, expect, test } from 'vitest';
import { Grid } from '../src/map/grid';

/** A simple, slow answer to hold the grid against. */
function nearest(x: Float32Array, y: Float32Array, px: number, py: number, r: number): number {
  let best = -1, d = r * r;
  for (let i = 0; i < x.length; i++) {
    const e = (x[i]! - px) ** 2 + (y[i]! - py) ** 2;
    if (e <= d) [best, d] = [i, e];
  }
  return best;
}

function random(seed: number): () => number {
  let s = seed;
  return () => (s = (Math.imul(s, 1103515245) + 12345) & 0x7fffffff) / 0x7fffffff;
}

describe('Grid', () => {
  const next = random(42), n = 2000;
  const x = Float32Array.from({ length: n }, () => next() * 900), y = Float32Array.from({ length: n }, () => next() * 500);
  const grid = new Grid(x, y, 900, 500, 37);

  test('finds the same nearest point as a search of all', () => {
    for (let k = 0; k < 500; k++) {
      const px = next() * 1000 - 50, py = next() * 600 - 50, r = next() * 60, found = grid.nearest(px, py, r), right = nearest(x, y, px, py, r);
      const distance = (i: number): number => (i < 0 ? Infinity : (x[i]! - px) ** 2 + (y[i]! - py) ** 2);
      expect(distance(found)).toBe(distance(right));
    }
  });
  test('answers -1 when nothing is near', () => {
    expect(grid.nearest(-500, -500, 10)).toBe(-1);
  });
  test('visits at least every point of a rectangle, and each once', () => {
    const seen: number[] = [];
    grid.within(100, 100, 300, 250, (i) => seen.push(i));
    expect(new Set(seen).size).toBe(seen.length);
    for (let i = 0; i < n; i++) if (x[i]! >= 100 && x[i]! <= 300 && y[i]! >= 100 && y[i]! <= 250) expect(seen).toContain(i);
  });
  test('leaves out points without a place, and keeps points on the far edge', () => {
    const g = new Grid(Float32Array.of(NaN, 100), Float32Array.of(NaN, 100), 100, 100, 10);
    expect(g.nearest(100, 100, 5)).toBe(1);
    expect(g.nearest(0, 0, 50)).toBe(-1);
  });
});
