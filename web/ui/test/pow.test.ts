import { describe, expect, test } from 'vitest';
import { search, solve } from '../src/queue/pow';

/** Leading zero bits of SHA-256(token:answer), by WebCrypto. */
async function zeroBits(token: string, answer: string): Promise<number> {
  const h = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(`${token}:${answer}`)));
  return [...h].map((b) => b.toString(2).padStart(8, '0')).join('').indexOf('1');
}

describe('proof of work', () => {
  test.each(['t', 'x'.repeat(51), 'y'.repeat(54), 'z'.repeat(62), 'w'.repeat(63), 'v'.repeat(64), 'a.b-c_'.repeat(40), 'ü'.repeat(31)])('answers the token %s', async (token) => {
    const a = await solve({ type: 'pow', token, bits: 10 });
    expect(a.token).toBe(token);
    expect(a.answer).toMatch(/^\d+$/);
    expect(await zeroBits(token, a.answer)).toBeGreaterThanOrEqual(10);
  });
  test('finds the first number that fits, wherever it starts', async () => {
    let n = 0;
    while ((await zeroBits('token', String(n))) < 12) n++;
    expect(search({ token: 'token', bits: 12 }, 0, n + 1)).toBe(n);
    expect(search({ token: 'token', bits: 12 }, 0, n)).toBeNull();
    expect(search({ token: 'token', bits: 12 }, n, 1)).toBe(n);
  });
  test('no bits asked, none looked for', () => expect(search({ token: 't', bits: 0 }, 5, 1)).toBe(5));
  test('keeps the page answering', async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await solve({ type: 'pow', token: 'busy', bits: 15 });
    clearInterval(timer);
    expect(turns).toBeGreaterThan(0);
  });
});
