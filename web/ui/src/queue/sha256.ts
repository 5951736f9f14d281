/**
 * SHA-256 (FIPS 180-4) without waiting: the proof of work needs hundreds of
 * thousands of hashes, which WebCrypto's promises would make slow, and pages
 * over plain http have no WebCrypto at all.
 */

const first = (n: number, f: (p: number) => number): Int32Array => {
  const out = new Int32Array(n);
  for (let p = 2, i = 0; i < n; p++) {
    let prime = true;
    for (let d = 2; d * d <= p; d++) if (p % d === 0) prime = false;
    if (prime) out[i++] = (f(p) % 1) * 2 ** 32;
  }
  return out;
};
/** The first 32 bits of the fractions of the roots of the first primes. */
const K = first(64, Math.cbrt), H = first(8, Math.sqrt);
const w = new Int32Array(64);
const turn = (x: number, n: number): number => (x >>> n) | (x << (32 - n));

/** Takes the 64 bytes of `b` from `at` on into the state `h`. */
export function compress(h: Int32Array, b: Uint8Array, at: number): void {
  for (let i = 0; i < 16; i++, at += 4) w[i] = (b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!;
  for (let i = 16; i < 64; i++) {
    const x = w[i - 15]!, y = w[i - 2]!;
    w[i] = (w[i - 16]! + w[i - 7]! + (turn(x, 7) ^ turn(x, 18) ^ (x >>> 3)) + (turn(y, 17) ^ turn(y, 19) ^ (y >>> 10))) | 0;
  }
  let a = h[0]!, c1 = h[1]!, c = h[2]!, d = h[3]!, e = h[4]!, f = h[5]!, g = h[6]!, l = h[7]!;
  for (let i = 0; i < 64; i++) {
    const s = (l + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + K[i]! + w[i]!) | 0;
    const t = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & c1) ^ (a & c) ^ (c1 & c))) | 0;
    l = g; g = f; f = e; e = (d + s) | 0; d = c; c = c1; c1 = a; a = (s + t) | 0;
  }
  h[0] = (h[0]! + a) | 0; h[1] = (h[1]! + c1) | 0; h[2] = (h[2]! + c) | 0; h[3] = (h[3]! + d) | 0;
  h[4] = (h[4]! + e) | 0; h[5] = (h[5]! + f) | 0; h[6] = (h[6]! + g) | 0; h[7] = (h[7]! + l) | 0;
}

export const start = (): Int32Array => H.slice();

/** What `rest` looks like as the last one or two blocks of a message of `total` bytes. */
export function padded(rest: Uint8Array, total: number): Uint8Array {
  const out = new Uint8Array(rest.length < 56 ? 64 : 128);
  out.set(rest);
  out[rest.length] = 0x80;
  const v = new DataView(out.buffer);
  v.setUint32(out.length - 8, Math.floor(total / 2 ** 29));
  v.setUint32(out.length - 4, total << 3);
  return out;
}

/** The SHA-256 of `b`, 32 bytes. */
export function sha256(b: Uint8Array): Uint8Array {
  const h = start();
  let at = 0;
  for (; at + 64 <= b.length; at += 64) compress(h, b, at);
  const end = padded(b.subarray(at), b.length);
  for (let i = 0; i < end.length; i += 64) compress(h, end, i);
  const out = new Uint8Array(32), v = new DataView(out.buffer);
  h.forEach((x, i) => v.setInt32(i * 4, x));
  return out;
}
