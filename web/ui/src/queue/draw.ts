/**
 * The draw `onsale-draw-1`, recomputed by the visitor's own device. See
 * docs/waiting-room.md; the server has the same algorithm and the same vectors
 * in its tests.
 */
import type { Draw } from '../api';
import { sha256 } from './sha256';

export const algorithm = 'onsale-draw-1';

async function hash(...parts: Uint8Array[]): Promise<Uint8Array> {
  const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    all.set(p, at);
    at += p.length;
  }
  // Pages over plain http have no WebCrypto.
  return globalThis.crypto?.subtle ? new Uint8Array(await crypto.subtle.digest('SHA-256', all)) : sha256(all);
}

export const hexOf = (b: Uint8Array): string => Array.from(b, (x) => x.toString(16).padStart(2, '0')).join('');

/** The bytes of lower-case hex; throws on anything else. */
export function bytesOf(hex: string): Uint8Array {
  if (!/^([0-9a-f]{2})*$/.test(hex)) throw new Error('not hex');
  return Uint8Array.from(hex.match(/../g) ?? [], (x) => parseInt(x, 16));
}

/** A whole number below 2^53 as 8 bytes, big endian. */
function be8(n: number): Uint8Array {
  const out = new Uint8Array(8), v = new DataView(out.buffer);
  v.setUint32(0, Math.floor(n / 2 ** 32));
  v.setUint32(4, n >>> 0);
  return out;
}

/** The commitment to a secret: its SHA-256, in hex. */
export const commitmentOf = async (secret: string): Promise<string> => hexOf(await hash(bytesOf(secret)));

/** The seed of a draw, in hex: SHA-256 of secret, number of people, digest of their list, and public value ("" when none). */
export const seedOf = async (secret: string, n: number, digest: string, publicValue: string): Promise<string> =>
  hexOf(await hash(bytesOf(secret), be8(n), bytesOf(digest), new TextEncoder().encode(publicValue)));

/**
 * Where `i` (0 ≤ i < n) comes to lie among n: ten rounds of a Feistel network
 * over the next even number of bits, walked until the result is below n. A
 * permutation for every n below 2^53.
 */
export async function permute(seed: Uint8Array, i: number, n: number): Promise<number> {
  const bits = n > 1 ? (n - 1).toString(2).length : 0, half = Math.max(1, Math.ceil(bits / 2)), size = 2 ** half;
  do {
    // Arithmetic instead of shifts: those end at 32 bits.
    let left = Math.floor(i / size), right = i % size;
    for (let r = 0; r < 10; r++) {
      const h = await hash(seed, Uint8Array.of(r), be8(right));
      // The lower half of the first eight bytes is enough: half ≤ 27.
      const f = new DataView(h.buffer).getUint32(4) & (size - 1);
      [left, right] = [right, (left ^ f) >>> 0];
    }
    i = left * size + right;
  } while (i >= n);
  return i;
}

/** What this browser remembers from before the draw. */
export interface Seen { commitment?: string | null; index?: number | null }

export interface Verdict {
  /** Every check that could be made, by name, and whether it held. */
  checks: Partial<Record<'commitment' | 'same' | 'seed' | 'index' | 'place', boolean>>;
  /** All checks held. */
  ok: boolean;
  /** The visitor's place as computed here; null when they were not drawn. */
  place: number | null;
}

/** Recomputes a drawn draw; null when it has not been drawn. Values that are no values at all fail the check they are for. */
export async function verify(d: Draw, seen: Seen): Promise<Verdict | null> {
  if (d.status !== 'drawn') return null;
  const checks: Verdict['checks'] = {};
  let place: number | null = null;
  const holds = async (f: () => Promise<boolean>): Promise<boolean> => f().catch(() => false);
  checks.commitment = await holds(async () => d.secret!.length === 64 && (await commitmentOf(d.secret!)) === d.commitment);
  if (seen.commitment) checks.same = seen.commitment === d.commitment;
  checks.seed = d.algorithm === algorithm
    && (await holds(async () => d.digest!.length === 40 && (await seedOf(d.secret!, d.n!, d.digest!, d.public_value ?? '')) === d.seed));
  if (d.you?.place != null) {
    const { index } = d.you;
    if (seen.index) checks.index = seen.index === index;
    checks.place = await holds(async () => {
      if (!(Number.isInteger(index) && index >= 1 && index <= d.n!)) return false;
      place = d.base! + (await permute(bytesOf(d.seed!), index - 1, d.n!)) + 1;
      return place === d.you!.place;
    });
  }
  return { checks, ok: Object.values(checks).every(Boolean), place };
}
