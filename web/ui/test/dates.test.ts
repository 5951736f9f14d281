import { describe, expect, test } from 'vitest';
import type { SeriesDate } from '../src/api';
import { dateState } from '../src/event/dates';

const date = (more: Partial<SeriesDate>): SeriesDate => ({ event: 'e', name: 'Season', starts_at: '2027-03-26T18:30:00Z', timezone: 'Europe/Berlin', status: 'on_sale', tickets: null, ...more });
const stock = (available: number, held: number, availability?: 'available' | 'few_left' | 'sold_out'): SeriesDate['tickets'] => ({ total: 2000, available, held, sold: 0, ...(availability && { availability }) });

describe('what is said of another date', () => {
  test.each<[string, Partial<SeriesDate>, ReturnType<typeof dateState>]>([
    ['nothing is known', {}, null],
    ['tickets are left', { tickets: stock(1312, 0, 'available') }, { text: '1,312 left', tone: 'soft' }],
    ['all are in baskets', { tickets: stock(0, 3, 'few_left') }, { text: 'None free just now', tone: 'soft' }],
    ['all are sold', { tickets: stock(0, 0, 'sold_out') }, { text: 'Sold out', tone: 'bad' }],
    ['all are sold, as older servers say it', { tickets: stock(0, 0) }, { text: 'Sold out', tone: 'bad' }],
    ['it is off', { status: 'cancelled', tickets: stock(5, 0) }, { text: 'Cancelled', tone: 'bad' }],
    ['it is put off', { status: 'postponed', tickets: stock(5, 0) }, { text: 'Postponed', tone: 'bad' }],
  ])('%s', (_, more, want) => expect(dateState(date(more))).toEqual(want));
});
