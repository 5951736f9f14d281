/** Promo codes as forms have them, and as the server wants them. */
import { number } from '../page';
import { changes, fieldOf, timeOf } from './act';
import type { Promo, PromoPatch, PromoRequest } from './calls';
import { amountOf } from './refund';

/** What is wrong with the form of new codes, by field; empty if nothing is. */
export function promoProblems(f: PromoForm, currency: string): Partial<Record<keyof PromoForm, string>> {
  const whole = (s: string, max: number): boolean => /^\d+$/.test(s.trim()) && +s >= 1 && +s <= max, p: Partial<Record<keyof PromoForm, string>> = {};
  if (f.kind === 'one' && !/^[a-z0-9-]{3,32}$/i.test(f.code.trim())) p.code = 'A code has 3 to 32 letters, digits and hyphens.';
  if (f.kind === 'random' && !whole(f.quantity, 10_000)) p.quantity = 'From 1 to 10,000 codes can be made at once.';
  if (f.off === 'percent') {
    if (!/^\d{1,3}(\.\d{1,3})?$/.test(f.value.trim().replace(',', '.')) || !(+f.value.replace(',', '.') > 0) || +f.value.replace(',', '.') > 100) p.value = 'Write a percentage above 0 and up to 100, with at most three decimals.';
  } else if (!amountOf(f.value, currency)) {
    p.value = `Write an amount in ${currency}, without its sign.`;
  }
  if (f.kind === 'one' && f.max.trim() && !whole(f.max, 10_000_000)) p.max = 'Write how many orders in all, or nothing.';
  if (f.kind === 'one' && f.each.trim() && !whole(f.each, 10_000_000)) p.each = 'Write how many orders of one buyer, or nothing.';
  if (f.from && f.until && f.from >= f.until) p.until = 'The end must be later than the start.';
  return p;
}
export interface PromoForm { kind: 'one' | 'random'; code: string; quantity: string; prefix: string; off: 'percent' | 'amount'; value: string; max: string; each: string; from: string; until: string; note: string }
export const emptyPromo: PromoForm = { kind: 'one', code: '', quantity: '50', prefix: '', off: 'percent', value: '', max: '', each: '', from: '', until: '', note: '' };

/** The form as the server wants it. */
export const promoRequest = (f: PromoForm, currency: string): PromoRequest => ({
  ...(f.kind === 'one' ? { code: f.code.trim() } : { quantity: +f.quantity, ...(f.prefix.trim() && { prefix: f.prefix.trim() }) }),
  ...(f.off === 'percent' ? { percent: f.value.trim().replace(',', '.') } : { amount: amountOf(f.value, currency)! }),
  ...(f.kind === 'one' && f.max.trim() && { max_uses: +f.max }), ...(f.kind === 'one' && f.each.trim() && { per_buyer: +f.each }),
  ...(f.from && { starts_at: timeOf(f.from) }), ...(f.until && { ends_at: timeOf(f.until) }), ...(f.note.trim() && { note: f.note.trim() }),
});

/** What can be changed about a code, as fields. */
export type PromoChange = Pick<PromoForm, 'max' | 'each' | 'from' | 'until' | 'note'>;
export const promoChange = (p: Promo): PromoChange => ({ max: String(p.max_uses ?? ''), each: String(p.per_buyer ?? ''), from: fieldOf(p.starts_at), until: fieldOf(p.ends_at), note: p.note });

/** What is wrong with a change of a code, by field. */
export function changeProblems(p: Promo, f: PromoChange): Partial<Record<keyof PromoForm, string>> {
  const wrong = promoProblems({ ...emptyPromo, code: p.code, value: '1', ...f }, '');
  if (!wrong.max && f.max.trim() && +f.max < p.used) wrong.max = `Not below ${number(p.used)}, which is how often it was used.`;
  return wrong;
}

/** Those fields that were changed, as the server wants them: null lifts what is empty. */
export function promoPatch(p: Promo, f: PromoChange): PromoPatch {
  const c = changes(f, promoChange(p)), limit = (s: string): number | null => (s.trim() ? +s : null);
  return {
    ...(c.max !== undefined && { max_uses: limit(c.max) }), ...(c.each !== undefined && { per_buyer: limit(c.each) }),
    ...(c.from !== undefined && { starts_at: timeOf(c.from) }), ...(c.until !== undefined && { ends_at: timeOf(c.until) }), ...(c.note !== undefined && { note: c.note.trim() }),
  };
}
