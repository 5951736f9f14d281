import { signal } from '@preact/signals';
import type { AdminRoom, AuditEntry, Selection } from '../api';
import { problemText } from '../page';
import * as live from './live';

/** How the last action ended, with a way back where there is one. */
export const notice = signal<{ tone: 'good' | 'bad'; text: string; undo?: () => void } | null>(null);

/** Runs an operator's action and says how it ended. */
export async function act(done: string, f: () => Promise<unknown>, undo?: () => void): Promise<boolean> {
  try {
    const r = await f();
    if (r && typeof r === 'object' && 'event' in r && 'throttle' in r) live.changed(r as AdminRoom);
    notice.value = { tone: 'good', text: done, undo };
    return true;
  } catch (e) {
    notice.value = { tone: 'bad', text: problemText(e) };
    return false;
  }
}

/** The fields of `to` that differ from `from`. */
export const changes = <T extends object>(to: T, from: T): Partial<T> =>
  Object.fromEntries(Object.entries(to).filter(([k, v]) => v !== from[k as keyof T])) as Partial<T>;

/** An instant as a datetime-local field shows it, in the operator's own zone; "" for none. */
export function fieldOf(t: string | null | undefined): string {
  if (!t) return '';
  const d = new Date(t);
  return new Date(d.getTime() - d.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** What a datetime-local field holds as an instant; null for none. */
export const timeOf = (field: string): string | null => (field ? new Date(field).toISOString() : null);

/** Invitations as CSV (RFC 4180). A field that a spreadsheet would take for a formula gets a quote in front. */
export function csv(rows: string[][]): string {
  const cell = (s: string): string => `"${(/^[=+\-@\t\r]/.test(s) ? `'${s}` : s).replace(/"/g, '""')}"`;
  return rows.map((r) => `${r.map(cell).join(',')}\r\n`).join('');
}

/** Those entries of the audit log that are about one room. */
export const auditOf = (entries: AuditEntry[], event: string): AuditEntry[] => entries.filter((e) => e.subject.startsWith(event));

/** What a form selects: nothing filled in is everything. */
export function selectionOf(f: { section: string; row: string; tier: string; quantity: string }): Selection {
  const { section, tier } = f, row = section && f.row.trim(), quantity = Number(f.quantity) || 0;
  return { ...(section && { section }), ...(row && { row }), ...(tier && { tier }), ...(!section && !tier && { all: true }), ...(quantity && { quantity }) };
}

/** Hands over a file. */
export function handOver(file: Blob, name: string): void {
  const a = document.createElement('a');
  a.href = URL.createObjectURL(file);
  a.download = name;
  a.click();
  URL.revokeObjectURL(a.href);
}

/** Hands text over as a file. */
export const download = (text: string, name: string, type: string): void => handOver(new Blob([text], { type }), name);
