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

/** Storage that may be forbidden (private windows, blocked cookies) and then remembers nothing. */
export const store = {
  get(k: string, s: 'localStorage' | 'sessionStorage' = 'localStorage'): string | null {
    try { return window[s].getItem(k); } catch { return null; }
  },
  set(k: string, v: string | null, s: 'localStorage' | 'sessionStorage' = 'localStorage'): void {
    try { v === null ? window[s].removeItem(k) : window[s].setItem(k, v); } catch { /* nothing to remember with */ }
  },
};
