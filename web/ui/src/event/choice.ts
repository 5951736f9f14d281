import type { AreaRequest, Channel, HoldRequest, Problem } from '../api';
import { type Plan, seatName } from '../map/plan';
import { access } from '../map/marks';
import { available, blocked, held } from '../map/status';

/** What the pages know about choosing tickets, without any page. */

/** A number of tickets of a general-admission section. `channel` is as in `spread`: 0 for those on general sale. */
export interface AreaChoice { section: number; channel: number; n: number }

/** Which of one's own channels each ticket is kept for, by ordinal: 0 for none, else its index + 1. */
export function spread(channels: Channel[]): Uint8Array {
  const of = new Uint8Array(channels.reduce((n, c) => c.ranges.reduce((m, r) => Math.max(m, r[1] + 1), n), 0));
  channels.forEach((c, k) => { for (const [first, last] of c.ranges) of.fill(k + 1, first, last + 1); });
  return of;
}

/** Whether this visitor may take the ticket: it is free, or kept for a channel of theirs. */
export const open = (status: Uint8Array, kept: Uint8Array, i: number): boolean => status[i] === available || (status[i] === blocked && !!kept[i]);

/** The tickets of an area that may be taken from one channel, or from general sale. */
export function openIn(status: Uint8Array, kept: Uint8Array, first: number, count: number, channel: number): number {
  let n = 0;
  for (let i = first; i < first + count; i++) if (open(status, kept, i) && (status[i] === blocked ? kept[i]! : 0) === channel) n++;
  return n;
}

/** What is left in a word, as the server says it of tiers: what somebody only holds may come back. */
export function word(free: number, inBaskets: number, total: number): '' | 'few left' | 'sold out' {
  return free + inBaskets === 0 ? 'sold out' : free * 10 < total ? 'few left' : '';
}
export const words = { available: '', few_left: 'few left', sold_out: 'sold out' } as const;

/** Free tickets of each tier, and what that is in a word. */
export function byTier(p: Plan, status: Uint8Array, kept: Uint8Array): { free: number; word: string }[] {
  const of = p.tiers.map(() => ({ free: 0, held: 0, total: 0 }));
  for (let i = 0; i < status.length; i++) {
    const t = of[p.tier[i]!];
    if (!t) continue;
    t.total++;
    if (open(status, kept, i)) t.free++;
    else if (status[i] === held) t.held++;
  }
  return of.map((t) => ({ free: t.free, word: status.length ? word(t.free, t.held, t.total) : '' }));
}

/** The list with n tickets of this area. */
export function withArea(list: readonly AreaChoice[], section: number, channel: number, n: number): AreaChoice[] {
  const rest = list.filter((a) => a.section !== section || a.channel !== channel);
  return n > 0 ? [...rest, { section, channel, n }] : rest;
}

/** Seats and quantities of areas as one request. */
export function requestOf(p: Plan, seats: Iterable<number>, areas: readonly AreaChoice[], channels: Channel[]): HoldRequest {
  const ordinals = [...seats], wanted: AreaRequest[] = areas.map((a) => ({ section: p.sections[a.section]!.id, quantity: a.n, ...(a.channel && { channel: channels[a.channel - 1]!.id }) }));
  return { ...(ordinals.length && { ordinals }), ...(wanted.length && { areas: wanted }) };
}

const numbers = (v: unknown): number[] => (Array.isArray(v) ? v.filter((n): n is number => Number.isInteger(n)) : []);
const lists = (v: unknown): number[][] => (Array.isArray(v) ? v.map((c) => numbers((c as { ordinals?: unknown } | null)?.ordinals)).filter((l) => l.length) : []);

/** What a refusal says about tickets; empty where it says nothing. */
export function readRefusal(e: Problem): { taken: number[]; instead: number[][]; together: number[][]; singles: number[]; left: number | null; area: number | null } {
  const b = e.body, number = (v: unknown): number | null => (typeof v === 'number' ? v : null);
  return {
    taken: numbers(b.taken_ordinals), instead: lists(b.alternatives), together: lists(b.alternatives_together),
    singles: numbers(b.singles_ordinals), left: number(b.left), area: number(b.area),
  };
}

/** How many suggestions are made, and how far from the lost seats they may be, in ordinals. */
const most = 3, nearby = 2000;

/**
 * As many free seats as were lost, next to each other in one row of the same price and as accessible, nearest first: what the server
 * suggests when it refuses, for seats that the live map saw go before anybody asked.
 */
export function nearest(p: Plan, free: (i: number) => boolean, lost: readonly number[]): number[][] {
  const n = lost.length, sorted = [...lost].sort((a, b) => a - b), from = sorted[0]!, tier = p.tier[sorted[n >> 1]!], kept = p.marks[sorted[n >> 1]!]! & access;
  const besides = (i: number): boolean => p.row[i] === p.row[i - 1] && Math.hypot(p.x[i]! - p.x[i - 1]!, p.y[i]! - p.y[i - 1]!) <= p.spacing * 1.75;
  const found: number[][] = [];
  let run = 0;
  for (let i = Math.max(0, from - nearby); i < Math.min(p.total, from + nearby + n); i++) {
    run = free(i) && p.tier[i] === tier && (p.marks[i]! & access) === kept && !Number.isNaN(p.x[i]!) ? (run && besides(i) ? run + 1 : 1) : 0;
    if (run < n) continue;
    found.push(Array.from({ length: n }, (_, k) => i - n + 1 + k));
    run = 0; // no two suggestions share a seat
  }
  return found.sort((a, b) => Math.abs(a[0]! - from) - Math.abs(b[0]! - from)).slice(0, most);
}

/** Tickets in words, neighbours as a range: "Stalls, row F, seats 12–13; Floor". */
export function placesText(p: Plan, ordinals: readonly number[]): string {
  const parts: string[] = [], sorted = [...ordinals].sort((a, b) => a - b);
  for (let k = 0; k < sorted.length;) {
    const first = sorted[k]!, row = p.row[first]!, r = p.rows[row];
    let end = k + 1;
    while (end < sorted.length && sorted[end] === sorted[end - 1]! + 1 && p.row[sorted[end]!] === row && p.section[sorted[end]!] === p.section[first]) end++;
    const n = end - k, last = sorted[end - 1]!;
    if (n === 1) parts.push(seatName(p, first));
    else if (!r) parts.push(`${seatName(p, first)}, ${n} tickets`);
    else {
      const seats = r.seats.slice(first - r.first, last - r.first + 1), step = +seats[1]! - +seats[0]!;
      const counted = Math.abs(step) === 1 && seats.every((s, i) => i === 0 || +s - +seats[i - 1]! === step);
      const text = counted ? `${seats[step > 0 ? 0 : n - 1]}–${seats[step > 0 ? n - 1 : 0]}` : seats.join(', ');
      parts.push(`${p.sections[p.section[first]!]!.name}, row ${r.name}, seats ${text}`);
    }
    k = end;
  }
  return parts.join('; ');
}
