/**
 * The server's clock as seen from this page. Every answer that carries the
 * server's time corrects it, so a wrong device clock never shortens a countdown.
 */
let skew = 0;

/** Learns the server's time from an RFC 3339 stamp that has just arrived. */
export function observe(asOf: string | null | undefined): void {
  const t = asOf ? Date.parse(asOf) : NaN;
  if (t) skew = t - Date.now();
}

/** The server's time in milliseconds since 1970. */
export const now = (): number => Date.now() + skew;

/** Whole seconds from now until `t`, never below 0; null when there is no such time. */
export function secondsUntil(t: string | null | undefined): number | null {
  const ms = t ? Date.parse(t) - now() : NaN;
  return Number.isNaN(ms) ? null : Math.max(0, Math.ceil(ms / 1000));
}

const two = (n: number): string => String(n).padStart(2, '0');

/** Seconds as `9:05`, `1:02:03`, or `2d 01:02:03`. */
export function clockText(s: number): string {
  const d = Math.floor(s / 86400), h = Math.floor(s / 3600) % 24, m = Math.floor(s / 60) % 60;
  if (d) return `${d}d ${two(h)}:${two(m)}:${two(s % 60)}`;
  return h ? `${h}:${two(m)}:${two(s % 60)}` : `${m}:${two(s % 60)}`;
}
