import type { PlanArea, PlanDocument, PlanSection } from '../api';
import { Grid } from './grid';
import { bitsOf } from './marks';

export interface Row { name: string; section: number; first: number; seats: string[] }

/** A seating plan in typed arrays, one entry per ticket ordinal. Units are plan pixels. */
export interface Plan {
  width: number; height: number; total: number;
  /** NaN for general admission, which has no place on the map. */
  x: Float32Array; y: Float32Array;
  section: Uint16Array;
  /** Index into rows, or 65535 for general admission. */
  row: Uint16Array;
  tier: Uint8Array;
  /** What is special about a seat by itself or by its price, see marks. */
  marks: Uint8Array;
  rows: Row[];
  sections: PlanSection[];
  tiers: PlanDocument['tiers'];
  areas: PlanArea[];
  /** The usual distance between neighbouring seats. */
  spacing: number;
  grid: Grid;
}

export const noRow = 0xffff;

/** Unpacks the document the server sends. */
export function readPlan(d: PlanDocument): Plan {
  const total = d.sections.reduce((n, s) => Math.max(n, s.first + s.count), 0);
  const x = new Float32Array(total).fill(NaN), y = new Float32Array(total).fill(NaN);
  const section = new Uint16Array(total), row = new Uint16Array(total).fill(noRow), tier = new Uint8Array(total), marks = new Uint8Array(total);
  const rows: Row[] = [];
  d.sections.forEach((s, si) => {
    section.fill(si, s.first, s.first + s.count);
    if (s.kind === 'ga') tier.fill(s.tier ?? 0, s.first, s.first + s.count);
    for (const r of s.rows ?? []) {
      x.set(r.x, r.first);
      y.set(r.y, r.first);
      row.fill(rows.length, r.first, r.first + r.seats.length);
      let at = r.first;
      for (let k = 0; k + 1 < r.tiers.length; k += 2) {
        const next = at + r.tiers[k + 1]!;
        tier.fill(r.tiers[k]!, at, next);
        at = next;
      }
      for (let k = 0; k + 2 < (r.attributes?.length ?? 0); k += 3) {
        const from = r.first + r.attributes![k]!;
        marks.fill(r.attributes![k + 2]!, from, from + r.attributes![k + 1]!);
      }
      rows.push({ name: r.name, section: si, first: r.first, seats: r.seats });
    }
  });
  const ofTier = d.tiers.map((t) => bitsOf([t.type ?? '']));
  for (let i = 0; i < total; i++) marks[i]! |= ofTier[tier[i]!] ?? 0;
  const spacing = usualSpacing(rows, x, y);
  return {
    width: d.width, height: d.height, total, x, y, section, row, tier, marks, rows, sections: d.sections, tiers: d.tiers, areas: d.areas ?? [], spacing,
    grid: new Grid(x, y, d.width, d.height, spacing * 4),
  };
}

/** The lower quartile of the distances between neighbours: aisles and gaps do not widen it. */
function usualSpacing(rows: Row[], x: Float32Array, y: Float32Array): number {
  const gaps: number[] = [];
  for (const r of rows) for (let i = r.first + 1; i < r.first + r.seats.length; i++) gaps.push(Math.hypot(x[i]! - x[i - 1]!, y[i]! - y[i - 1]!));
  gaps.sort((a, b) => a - b);
  return gaps[gaps.length >> 2] || 20;
}

/** Where a ticket is, in words: "Parkett left, row C, seat 12". */
export function seatName(p: Plan, i: number): string {
  const s = p.sections[p.section[i]!]?.name ?? '';
  const r = p.rows[p.row[i]!];
  return r ? `${s}, row ${r.name}, seat ${r.seats[i - r.first]}` : s;
}
