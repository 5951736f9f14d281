import { describe, expect, test } from 'vitest';
import { maker } from '../src/ticket/rotate';

const secret = btoa('12345678901234567890123456789012').replace(/=+$/, '');

describe('rotating codes', () => {
  // RFC 6238, appendix B, with SHA-256.
  test.each([[0x1, '46119246'], [0x23523ec, '68084774'], [0x23523ed, '67062674'], [0x273ef07, '91819424'], [0x3f940aa, '90698825'], [0x27bc86aa, '77737706']])('step %i', async (step, code) => {
    const make = await maker(secret, 8);
    expect(await make!(step)).toBe(code);
  });
  test('a secret with the letters of base64url', async () => {
    expect(await (await maker('-_-_AAAA', 8))!(1)).toMatch(/^\d{8}$/);
  });
});
