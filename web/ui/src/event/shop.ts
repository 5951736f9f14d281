import { computed, signal } from '@preact/signals';
import {
  type Delta, type Event, type Hold, type HoldRequest, type Me, type Money, Problem, type Snapshot,
  createHold, dropHold, getAvailability, getEvent, getHolds, getMe, getPlan,
} from '../api';
import { observe } from '../clock';
import { Feed, type FeedState } from '../feed';
import { type Plan, readPlan, seatName } from '../map/plan';
import { LiveStatus, available } from '../map/status';
import { sum } from '../money';
import { newKey, problemText } from '../page';
import { pageData, pathId, store } from '../shell';

/** The state of the event page and everything that changes it. */
export const id = pathId();
const data = pageData<{ event: Event; now: string }>();
observe(data.now);

export const event = signal<Event | null>(data.event ?? null);
export const me = signal<Me | null>(null);
export const plan = signal<Plan | null>(null);
/** One byte a ticket, changed in place; `version` says that it changed. */
export let status: Uint8Array = new Uint8Array(0);
export const version = signal(0);
export const link = signal<FeedState>('connecting');
export const chosen = signal<ReadonlySet<number>>(new Set());
export const hold = signal<Hold | null>(null);
export const busy = signal(false);
export const notice = signal<{ tone: 'good' | 'warn' | 'bad' | ''; text: string } | null>(null);
/** Seats to bring into sight; read and cleared by the map. */
export const spotlight = signal<number[]>([]);

export const shopping = computed(() => me.value?.state === 'shopping');
export const mine = computed<ReadonlySet<number>>(() => new Set(hold.value?.tickets.map((t) => t.ordinal)));
export const total = computed<Money | null>(() => {
  const p = plan.value;
  return p && sum([...chosen.value].map((i) => p.tiers[p.tier[i]!]!.price));
});
/** Free tickets per tier of the plan. */
export const freeByTier = computed(() => {
  void version.value;
  const p = plan.value, n = new Array<number>(p?.tiers.length ?? 0).fill(0);
  if (p) for (let i = 0; i < status.length; i++) if (status[i] === available) n[p.tier[i]!]!++;
  return n;
});

export const isFree = (i: number): boolean => status[i] === available;

/** Seats changed by the last frame, for the map. null: all of them. */
export let lastChange: number[] | null = null;
const live = new LiveStatus();

function changed(which: number[] | null): void {
  status = live.status;
  lastChange = which;
  version.value++;
  forgetTaken();
}

function snapshot(s: Snapshot): void {
  if (live.snapshot(s)) changed(null);
}

function delta(d: Delta): void {
  const which = live.delta(d);
  // A frame is missing: a new socket begins with a snapshot that its next delta continues.
  if (which) changed(which);
  else feed.restart(Math.random() * 1000);
}

/** Seats in the choice that someone else got first leave it, and are named. */
function forgetTaken(): void {
  const p = plan.value;
  if (busy.value || !p) return;
  const gone = [...chosen.value].filter((i) => !isFree(i));
  if (gone.length) refuse(gone);
}

function refuse(gone: number[]): void {
  const p = plan.value!, rest = new Set(chosen.value);
  for (const i of gone) rest.delete(i);
  // General admission has no particular place: another free one will do.
  const lost = gone.filter((i) => {
    const s = p.sections[p.section[i]!]!;
    if (s.kind !== 'ga') return true;
    const other = freeIn(s.first, s.count, 1, rest)[0];
    if (other === undefined) return true;
    rest.add(other);
    return false;
  });
  chosen.value = rest;
  if (!lost.length) return;
  const names = lost.map((i) => seatName(p, i)).join('; ');
  notice.value = {
    tone: 'warn',
    text: `${names} ${lost.length === 1 ? 'has' : 'have'} just been taken by someone else.${rest.size ? ' Your other choices are kept.' : ''}`,
  };
}

/** Up to `n` free tickets of a run of ordinals that are not chosen, from a random start so that buyers do not collide. */
function freeIn(first: number, count: number, n: number, but: ReadonlySet<number>): number[] {
  const out: number[] = [], start = Math.floor(Math.random() * count);
  for (let k = 0; k < count && out.length < n; k++) {
    const i = first + ((start + k) % count);
    if (isFree(i) && !but.has(i)) out.push(i);
  }
  return out;
}

const feed = new Feed({
  path: `/v1/events/${id}/live`,
  message: (m) => {
    const f = m as (Snapshot & { type: 'snapshot' }) | Delta;
    if (f.type === 'snapshot') snapshot(f);
    else if (f.type === 'delta') delta(f);
  },
  poll: async () => {
    const s = await getAvailability(id);
    if (link.value === 'polling') snapshot(s); // else the socket has told more already
    return 5000;
  },
  state: (s) => { link.value = s; },
});

/** Loads everything; what fails leaves the rest usable. */
export async function start(): Promise<void> {
  const said = (e: unknown): void => { notice.value = { tone: 'bad', text: problemText(e) }; };
  await Promise.all([
    event.value ? null : getEvent(id).then((e) => { event.value = e; }).catch(said),
    getPlan(id).then((d) => { plan.value = readPlan(d); }).catch(said),
    getAvailability(id).then(snapshot).catch(() => { /* the feed brings it */ }),
    refreshMe(),
  ]);
  feed.start();
}

/** Learns whether this visitor may shop, and what they hold. Who never joined need not ask. */
export async function refreshMe(): Promise<void> {
  if (!store.get(`onsale:receipt:${id}`)) return;
  try {
    const m = await getMe(id);
    observe(m.as_of);
    me.value = m;
    await refreshHold();
  } catch (e) {
    if (e instanceof Problem && (e.status === 401 || e.status === 404)) me.value = null;
  }
}

export async function refreshHold(): Promise<void> {
  if (!shopping.value) {
    hold.value = null;
    return;
  }
  try {
    hold.value = (await getHolds(id)).holds[0] ?? null;
  } catch { /* the next look will tell */ }
}

const limit = (): number => event.value?.max_per_buyer ?? 10;

/** Adds the ticket to the choice or takes it out. */
export function toggle(i: number): void {
  const next = new Set(chosen.value);
  if (!next.delete(i)) {
    if (!isFree(i)) return;
    if (next.size >= limit()) {
      notice.value = { tone: 'warn', text: `You can buy at most ${limit()} tickets for this event.` };
      return;
    }
    next.add(i);
  }
  notice.value = null;
  chosen.value = next;
}

/** Sets how many tickets of a general-admission section are chosen. */
export function setQuantity(section: number, n: number): void {
  const s = plan.value!.sections[section]!, next = new Set(chosen.value);
  const have = [...next].filter((i) => i >= s.first && i < s.first + s.count);
  for (const i of have.slice(n)) next.delete(i);
  if (n > have.length) {
    const room = Math.min(n - have.length, limit() - next.size);
    if (room < n - have.length) notice.value = { tone: 'warn', text: `You can buy at most ${limit()} tickets for this event.` };
    for (const i of freeIn(s.first, s.count, room, next)) next.add(i);
  }
  chosen.value = next;
}

/** The request whose answer never came, and its key: asking again then asks the same. */
let unanswered = { request: '', key: '' };

/** Holds what was chosen, or the best seats the server finds. */
export async function take(what: HoldRequest): Promise<void> {
  if (busy.value) return;
  busy.value = true;
  notice.value = null;
  try {
    const request = JSON.stringify(what);
    if (unanswered.request !== request) unanswered = { request, key: newKey() };
    hold.value = await createHold(id, what, unanswered.key);
    unanswered.request = '';
    chosen.value = new Set();
    if ('best_available' in what) spotlight.value = hold.value.tickets.map((t) => t.ordinal);
  } catch (e) {
    if (e instanceof Problem && e.status) unanswered.request = '';
    const taken = e instanceof Problem && e.code === 'tickets-taken' ? (e.body.taken_ordinals as number[] | undefined) : undefined;
    if (taken && 'ordinals' in what) {
      for (const i of taken) if (status[i] === available) status[i] = 1;
      lastChange = taken;
      version.value++;
      refuse(taken);
    } else {
      notice.value = { tone: 'bad', text: problemText(e) };
      if (e instanceof Problem && (e.status === 401 || e.status === 403)) void refreshMe();
    }
  }
  busy.value = false;
  forgetTaken();
}

/** Gives the held tickets back; with `keep` they stay chosen, to be changed. */
export async function giveBack(keep: boolean): Promise<void> {
  const h = hold.value;
  if (!h || busy.value) return;
  busy.value = true;
  try {
    await dropHold(id, h.hold);
    hold.value = null;
    const back = h.tickets.map((t) => t.ordinal);
    for (const i of back) status[i] = available;
    lastChange = back;
    version.value++;
    chosen.value = new Set(keep ? back : []);
    notice.value = { tone: '', text: keep ? 'Your seats are free for others until you hold them again.' : 'Your seats were given back.' };
  } catch (e) {
    notice.value = { tone: 'bad', text: problemText(e) };
    await refreshHold();
  }
  busy.value = false;
}
