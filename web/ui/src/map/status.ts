import type { Delta, Snapshot } from '../api';

/** Ticket states as the live feed sends them. */
export const available = 0, held = 1, sold = 2, blocked = 3;
export type Status = 0 | 1 | 2 | 3;

/**
 * Decodes a snapshot: base64 of two bits a ticket in ordinal order, lowest
 * bits first. Returns one byte a ticket.
 * @throws RangeError when the text holds fewer than `total` tickets.
 */
export function decodeStatus(text: string, total: number): Uint8Array {
  const packed = atob(text);
  if (packed.length * 4 < total) throw new RangeError(`${packed.length * 4} tickets in the snapshot, ${total} expected`);
  const out = new Uint8Array(total);
  for (let i = 0; i < total; i++) out[i] = (packed.charCodeAt(i >> 2) >> ((i & 3) * 2)) & 3;
  return out;
}

/** How many tickets are in each state. */
export function countStatus(status: Uint8Array, from = 0, to = status.length): [number, number, number, number] {
  const n: [number, number, number, number] = [0, 0, 0, 0];
  for (let i = from; i < to; i++) n[status[i]! as Status]++;
  return n;
}

/** The state of all tickets, as the frames of the live feed tell it. */
export class LiveStatus {
  /** One byte a ticket; a delta changes it in place, a snapshot replaces it. */
  status: Uint8Array = new Uint8Array(0);
  /** That of the last frame; -1 before the first. */
  seq = -1;

  /**
   * Starts anew with all tickets. A lower `seq` is no older state: the seats were
   * counted anew. Tells whether anything is other than before.
   */
  snapshot(s: Snapshot): boolean {
    const next = decodeStatus(s.status, s.total);
    this.seq = s.seq;
    if (next.length === this.status.length && next.every((v, i) => v === this.status[i])) return false;
    this.status = next;
    return true;
  }

  /**
   * Applies what changed since the frame before, and returns which tickets that were.
   * null, and nothing is applied, when the delta does not continue what is known: then
   * a snapshot is needed.
   */
  delta(d: Delta): number[] | null {
    if (d.prev !== this.seq || d.seq < d.prev || d.changes.some(([i]) => i >= this.status.length)) return null;
    this.seq = d.seq;
    for (const [i, s] of d.changes) this.status[i] = s;
    return d.changes.map(([i]) => i);
  }
}
