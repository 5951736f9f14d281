import { signal } from '@preact/signals';
import { type AdminRoom, type LiveFrame, Problem, adminRooms } from '../api';
import { now, observe } from '../clock';
import { Feed, type FeedState } from '../feed';
import { problemText } from '../page';
import { store } from '../shell';

/** Seconds of history kept for the charts. */
export const historyLength = 900;

/** One second of a room's history. */
export interface Sample {
  at: number; waiting: number; admitted: number; rate: number; shoppers: number; cap: number;
  available: number; held: number; sold: number;
}
export interface ShopSample { at: number; orders: number; p95: number; errors: number }

const place = 'onsale:admin';
export const token = signal(store.get(place, true) ?? '');
export const signedIn = signal(false);
export const failure = signal('');
export const link = signal<FeedState>('connecting');
/** Whether the queue and the ticket store answered the last time. */
export const reachable = signal(true);
export const rooms = signal<AdminRoom[]>([]);
export const shop = signal<ShopSample[]>([]);
export const history = new Map<string, Sample[]>();

let feed: Feed | undefined;

/** Tries the token; on success the numbers start to flow. */
export async function signIn(t: string): Promise<void> {
  failure.value = '';
  try {
    const r = await adminRooms(t);
    token.value = t;
    store.set(place, t, true);
    signedIn.value = true;
    rooms.value = r.rooms;
    feed = new Feed({
      path: '/v1/admin/live',
      first: () => JSON.stringify({ token: t }),
      message: (m) => take(m as LiveFrame, true),
      poll: async () => {
        take({ at: new Date(now()).toISOString(), ...(await adminRooms(t)) }, false);
        return 2000;
      },
      state: (s) => { link.value = s; },
      closed: (code) => {
        if (code === 4003) signOut();
        return code === 4003;
      },
    });
    feed.start();
  } catch (e) {
    store.set(place, null, true);
    failure.value = e instanceof Problem && e.status === 401 ? 'That token is not valid.' : problemText(e);
  }
}

export function signOut(): void {
  feed?.stop();
  store.set(place, null, true);
  token.value = '';
  signedIn.value = false;
}

/** Adds a sample that is newer than the last. */
function push<T extends { at: number }>(list: T[], sample: T): T[] {
  if (list.length && sample.at <= list[list.length - 1]!.at) return list;
  list.push(sample);
  if (list.length > historyLength) list.shift();
  return list;
}

function take(f: Pick<LiveFrame, 'at' | 'rooms'> & Partial<LiveFrame>, whole: boolean): void {
  if (!f.rooms) return;
  if (whole) observe(f.at);
  const at = Date.parse(f.at) / 1000;
  for (const r of f.rooms) {
    const list = history.get(r.event) ?? [];
    history.set(r.event, push(list, {
      at, waiting: r.waiting, admitted: r.admitted_last_minute, rate: r.effective_rate_per_minute ?? r.throttle.rate_per_minute,
      shoppers: r.ready + r.shopping, cap: r.throttle.max_shoppers,
      available: r.tickets?.available ?? 0, held: r.tickets?.held ?? 0, sold: r.tickets?.sold ?? 0,
    }));
  }
  if (whole) shop.value = [...push(shop.value, { at, orders: f.orders_per_minute ?? 0, p95: f.p95_ms ?? 0, errors: f.errors_per_minute ?? 0 })];
  reachable.value = f.reachable !== false;
  if (reachable.value || f.rooms.length) rooms.value = f.rooms;
}

/** Replaces one room with what an action answered, before the next frame comes. */
export function changed(r: AdminRoom | undefined): void {
  if (r?.event) rooms.value = rooms.value.map((x) => (x.event === r.event ? { ...x, ...r } : x));
}
