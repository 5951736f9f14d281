/**
 * The rotating part of a ticket's code: the time-based one-time password of
 * RFC 6238 with HMAC-SHA-256, as the server's package ticket makes it.
 */

/** Bytes of base64url text. */
const bytes = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));

/** Makes codes of a secret; null where the browser has no cryptography, as over plain http. */
export async function maker(secret: string, digits: number): Promise<((step: number) => Promise<string>) | null> {
  if (!globalThis.crypto?.subtle) return null;
  const key = await crypto.subtle.importKey('raw', bytes(secret), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  return async (step) => {
    const count = new DataView(new ArrayBuffer(8));
    count.setBigUint64(0, BigInt(step));
    const sum = new DataView(await crypto.subtle.sign('HMAC', key, count.buffer));
    const n = sum.getUint32(sum.getUint8(31) & 15) & 0x7fffffff;
    return String(n % 10 ** digits).padStart(digits, '0');
  };
}
