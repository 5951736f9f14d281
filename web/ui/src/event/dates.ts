import type { SeriesDate } from '../api';
import { number } from '../page';

/** What is to be known of a date before one goes to its page; null while that is not known. */
export function dateState(d: SeriesDate): { text: string; tone: 'soft' | 'bad' } | null {
  if (d.status === 'cancelled') return { text: 'Cancelled', tone: 'bad' };
  if (d.status === 'postponed') return { text: 'Postponed', tone: 'bad' };
  const t = d.tickets;
  if (!t) return null;
  if (t.availability === 'sold_out' || (!t.availability && t.available + t.held === 0)) return { text: 'Sold out', tone: 'bad' };
  if (!t.available) return { text: 'None free just now', tone: 'soft' };
  return { text: `${number(t.available)} left`, tone: 'soft' };
}
