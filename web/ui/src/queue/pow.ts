/**
 * The proof of work a suspicious join asks for: a decimal `answer` so that
 * SHA-256(token + ":" + answer) begins with `bits` zero bits. Runs in a Worker,
 * which loads this very file; where there is none, in short pieces on the page.
 */
import type { Answer } from '../api';
import { compress, padded, start } from './sha256';

export interface Challenge { type: 'pow'; token: string; bits: number }

/** Whether the hash in `h` begins with `bits` zero bits. */
function zeros(h: Int32Array, bits: number): boolean {
  let i = 0;
  for (; bits >= 32; bits -= 32, i++) if (h[i]) return false;
  return !bits || h[i]! >>> (32 - bits) === 0;
}

/** Tries `count` numbers from `from` on; the first that answers, or null. */
export function search({ token, bits }: Pick<Challenge, 'token' | 'bits'>, from: number, count: number): number | null {
  const text = new TextEncoder(), prefix = text.encode(`${token}:`), whole = prefix.length & ~63;
  // The blocks that are the same for every answer are hashed once.
  const before = start(), h = new Int32Array(8);
  for (let at = 0; at < whole; at += 64) compress(before, prefix, at);
  const rest = prefix.subarray(whole);
  let length = 0, end: Uint8Array = rest;
  for (let n = from; n < from + count; n++) {
    const s = String(n);
    if (s.length !== length) {
      length = s.length;
      const digits = new Uint8Array(rest.length + length);
      digits.set(rest);
      end = padded(digits, prefix.length + length);
    }
    for (let k = 0; k < length; k++) end[rest.length + k] = s.charCodeAt(k);
    h.set(before);
    for (let at = 0; at < end.length; at += 64) compress(h, end, at);
    if (zeros(h, bits)) return n;
  }
  return null;
}

const pieces = async (c: Challenge): Promise<number> => {
  for (let from = 0; ; from += 4000) {
    const n = search(c, from, 4000);
    if (n !== null) return n;
    await new Promise((on) => setTimeout(on));
  }
};

const inWorker = (c: Challenge): Promise<number> => new Promise((found, failed) => {
  const worker = new Worker(import.meta.url, { type: 'module' });
  worker.onmessage = (e: MessageEvent<number>) => {
    worker.terminate();
    found(e.data);
  };
  worker.onerror = (e) => {
    worker.terminate();
    failed(e);
  };
  worker.postMessage(c);
});

/** Solves a challenge without keeping the page from answering. */
export async function solve(c: Challenge): Promise<Answer> {
  let n: number;
  try {
    n = await inWorker(c);
  } catch { // no Worker, or not from here
    n = await pieces(c);
  }
  return { token: c.token, answer: String(n) };
}

if (typeof document === 'undefined' && typeof postMessage === 'function') {
  onmessage = (e: MessageEvent<Challenge>) => {
    for (let from = 0; ; from += 1e6) {
      const n = search(e.data, from, 1e6);
      if (n !== null) return postMessage(n);
    }
  };
}
