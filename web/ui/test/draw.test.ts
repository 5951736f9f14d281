import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Draw } from '../src/api';
import { bytesOf, commitmentOf, hexOf, permute, seedOf, verify } from '../src/queue/draw';
import { sha256 } from '../src/queue/sha256';

afterEach(() => vi.unstubAllGlobals());

/** The fixed vectors, which the server's tests hold too. They were computed by a third program. */
const seed = bytesOf('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f');
const vectors: [n: number, first: number[]][] = [
  [1, [0]],
  [2, [0, 1]],
  [10, [6, 9, 7, 1, 3, 2, 5, 8, 0, 4]],
  [1000, [601, 708, 262, 905, 685, 896, 505, 638, 426, 142]],
  [1_000_000, [586403, 29011, 718401, 721731, 775182]],
];
const secret = 'fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0';
const digest = 'a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3';
const commitment = '1865c00831e73f7ee23fc13cb2d0f588b9c341835ca7472f8ec035aba4b789d6';

describe('SHA-256 of our own', () => {
  test.each([0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 128, 1000])('%i bytes', async (n) => {
    const b = Uint8Array.from({ length: n }, (_, i) => (i * 7 + n) & 255);
    expect(hexOf(sha256(b))).toBe(hexOf(new Uint8Array(await crypto.subtle.digest('SHA-256', b))));
  });
});

describe('the draw', () => {
  test.each(vectors)('of %i lies where the vectors say', async (n, first) => {
    for (const [i, place] of first.entries()) expect(await permute(seed, i, n)).toBe(place);
  });
  test('is the same without WebCrypto', async () => {
    vi.stubGlobal('crypto', {});
    expect(await permute(seed, 3, 1000)).toBe(905);
  });
  test.each([3, 4, 5, 16, 17, 100, 257])('of %i gives every place once', async (n) => {
    const all = new Set<number>();
    for (let i = 0; i < n; i++) all.add(await permute(seed, i, n));
    expect(all.size).toBe(n);
    expect(Math.max(...all)).toBe(n - 1);
  });
  test('mixes the seed from secret, number, list and public value', async () => {
    expect(await commitmentOf(secret)).toBe(commitment);
    expect(await seedOf(secret, 1000, digest, '')).toBe('244f0263b1f7b3dda5d79e36b5990d4184bd30f9632f72819127d971e1f48bb7');
    expect(await seedOf(secret, 1_000_000, digest, 'Ziehung 7-12-23 ü')).toBe('733b4336287de9f6a38762932fa723eb3874ea2f01b4034650173983f26cabd2');
  });
  test('beyond 32 bits of people, too', async () => {
    const n = 2 ** 40 + 3;
    expect(await permute(seed, n - 1, n)).toBeLessThan(n);
  });
});

describe('the proof', () => {
  const at = async (index: number): Promise<Draw> => {
    const s = await seedOf(secret, 1000, digest, '');
    return {
      event: 'e', order: 'draw', algorithm: 'onsale-draw-1', status: 'drawn', commitment, public_source: null, public_value: null,
      n: 1000, digest, base: 40, secret, seed: s, drawn_at: null, you: { index, place: 40 + (await permute(bytesOf(s), index - 1, 1000)) + 1 },
    };
  };
  test('holds', async () => {
    const d = await at(12);
    expect(await verify(d, { commitment, index: 12 })).toEqual({ checks: { commitment: true, same: true, seed: true, index: true, place: true }, ok: true, place: d.you!.place });
  });
  test('holds for somebody who came after the draw', async () => {
    expect(await verify({ ...(await at(1)), you: null }, {})).toEqual({ checks: { commitment: true, seed: true }, ok: true, place: null });
  });
  test.each<[string, Partial<Draw>]>([
    ['another secret', { secret: secret.replace('ff', 'fe') }],
    ['no secret', { secret: null }],
    ['another commitment', { commitment: commitment.replace('1', '2') }],
    ['another number of people', { n: 999 }],
    ['another list', { digest: digest.replace('a0', 'a1') }],
    ['another public value', { public_value: '7' }],
    ['another seed', { seed: commitment }],
    ['a seed that is none', { seed: 'zz' }],
    ['another base', { base: 41 }],
    ['another place', { you: { index: 12, place: 1 } }],
    ['another number in the list', { you: { index: 13, place: 41 } }],
    ['a number outside the list', { you: { index: 1001, place: 41 } }],
    ['an algorithm not known here', { algorithm: 'onsale-draw-2' }],
  ])('fails with %s', async (_what, change) => {
    expect((await verify({ ...(await at(12)), ...change }, { commitment, index: 12 }))!.ok).toBe(false);
  });
  test('cannot be made before the draw', async () => {
    expect(await verify({ ...(await at(1)), status: 'frozen' }, {})).toBeNull();
  });
});
