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
