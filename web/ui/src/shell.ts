/** What every page's HTML shell gives its script. */

/** The id in this page's address, e.g. of `/events/{id}`. */
export const pathId = (): string => location.pathname.split('/')[2] ?? '';

/** The server's data for the first paint; empty when it sent none. */
export function pageData<T extends object>(): Partial<T> {
  try {
    return JSON.parse(document.getElementById('onsale-data')?.textContent || '{}') ?? {};
  } catch {
    return {};
  }
}

/** A hue of its own for everything about one event, from its id: one of those that look well as a ground. */
export function hueOf(id: string): number {
  let h = 0;
  for (const c of id) h = (h * 31 + c.charCodeAt(0)) % 997;
  return 185 + (h % 8) * 22;
}

/** Storage that may be forbidden (blocked cookies) and then remembers nothing. */
export const store = {
  get(k: string, session?: boolean): string | null {
    try { return (session ? sessionStorage : localStorage).getItem(k); } catch { return null; }
  },
  set(k: string, v: string | null, session?: boolean): void {
    try {
      const s = session ? sessionStorage : localStorage;
      v === null ? s.removeItem(k) : s.setItem(k, v);
    } catch { /* nothing to remember with */ }
  },
};
