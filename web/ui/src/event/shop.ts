import { computed, signal } from '@preact/signals';
import {
  type BestRequest, type Channel, type Delta, type Event, type Hold, type HoldRequest, type Me, type Money, type OtherDates, Problem, type Snapshot,
  changeHold, createHold, dropHold, enterChannel, getAvailability, getChannels, getEvent, getEventPlan, getHolds, getMe,
} from '../api';
import { observe } from '../clock';
import { Feed, type FeedState } from '../feed';
import { type Plan, readPlan } from '../map/plan';
import { LiveStatus, available, blocked, held } from '../map/status';
import { sum } from '../money';
import { newKey, number, plural, problemText, sentence } from '../page';
import { accessible as forAccess } from '../map/marks';
import { pageData, pathId, store } from '../shell';
import { type AreaChoice, byTier, nearest, open, openIn, placesText, readRefusal, requestOf, spread, withArea } from './choice';

/** The state of the event page and everything that changes it. */
export const id = pathId();
const data = pageData<{ event: Event; series: OtherDates | null; now: string; image_origins: string[] }>();
/** Where pictures may come from. */
export const origins = data.image_origins;
observe(data.now);

export const event = signal<Event | null>(data.event ?? null);
export const others = data.series ?? null;
export const me = signal<Me | null>(null);
export const plan = signal<Plan | null>(null);
/** One byte a ticket, changed in place; `version` says that it changed. */
export let status: Uint8Array = new Uint8Array(0);
export const version = signal(0);
export const link = signal<FeedState>('connecting');
/** Seats chosen, and how many tickets of which areas. */
export const chosen = signal<ReadonlySet<number>>(new Set());
export const areas = signal<readonly AreaChoice[]>([]);
export const hold = signal<Hold | null>(null);
export const busy = signal(false);
export const notice = signal<{ tone: 'good' | 'warn' | 'bad' | ''; text: string } | null>(null);
/** Seats to bring into sight; read and cleared by the map. */
export const spotlight = signal<number[]>([]);

/** What can be had instead of lost seats, alone or with all others that were wanted. */
export interface Offer {
  instead: number[][]; together: number[][];
  /** What a click does: choose the seats, hold the choice with them, or change the hold. */
  does: 'choose' | 'hold' | 'change';
  /** The rest of a change that was refused. */
  add: number[]; drop: number[];
}
export const offer = signal<Offer | null>(null);
/** Seats that would be left alone. */
export const singles = signal<number[]>([]);
/** The search that found no seats together, though there are enough apart. */
export const apart = signal<HoldRequest | null>(null);

/** The channels this visitor may buy from, and which of them each ticket is kept for. */
export const channels = signal<Channel[]>([]);
export const kept = computed(() => spread(channels.value));

export const shopping = computed(() => me.value?.state === 'shopping');
/** An order has the hold. */
export const pinned = computed(() => !!hold.value?.pinned);
export const mine = computed<ReadonlySet<number>>(() => new Set(hold.value?.tickets.map((t) => t.ordinal)));
export const count = computed(() => areas.value.reduce((n, a) => n + a.n, chosen.value.size));
export const total = computed<Money | null>(() => {
  const p = plan.value;
  return p && sum([
    ...[...chosen.value].map((i) => p.tiers[p.tier[i]!]!.price),
    ...areas.value.flatMap((a) => new Array<Money>(a.n).fill(p.tiers[p.sections[a.section]!.tier ?? 0]!.price)),
  ]);
});
/** What is left of each tier of the plan. */
export const tiersLeft = computed(() => (void version.value, plan.value ? byTier(plan.value, status, kept.value) : []));
/** Whether there are tickets that this visitor cannot buy. */
export const shut = computed(() => (void version.value, status.some((s, i) => s === blocked && !isFree(i))));
/** How many tickets of which section are chosen by number. */
export const bySection = computed(() => {
  const of = new Map<number, number>();
  for (const a of areas.value) of.set(a.section, (of.get(a.section) ?? 0) + a.n);
  return of;
});
/** Suggestions that still can be had. */
export const offered = computed(() => {
  void version.value;
  const can = (list: number[][]): number[][] => list.filter((seats) => seats.every(isFree));
  return { instead: can(offer.value?.instead ?? []), together: can(offer.value?.together ?? []) };
});
/** The suggestion that is looked at just now. */
export const looked = signal<number[] | null>(null);
/** Seats the map points out. */
export const hints = computed<ReadonlySet<number>>(() => {
  const { instead, together } = offered.value;
  return new Set(looked.value ?? [...(instead.length ? instead : together).flat(), ...singles.value]);
});

/** Tiers with accessible seats. */
export const accessible = computed<ReadonlySet<number>>(() => {
  const p = plan.value, all = new Set<number>();
  if (p) for (let i = 0; i < p.total; i++) if (p.marks[i]! & forAccess) all.add(p.tier[i]!);
  return all;
});
export const isFree = (i: number): boolean => open(status, kept.value, i);
/** The channel a ticket is kept for, if it is one of one's own. */
export const channelOf = (i: number): Channel | undefined => channels.value[(kept.value[i] ?? 0) - 1];
/** How many of a run of tickets may be taken, from general sale and from one's own channels. */
export const freeIn = (first: number, n: number): number => channels.value.reduce((sum, _, k) => sum + openIn(status, kept.value, first, n, k + 1), openIn(status, kept.value, first, n, 0));

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

/** Takes lost seats out of the choice, names them and offers others. `server` are the server's suggestions. */
function refuse(gone: number[], server?: Pick<Offer, 'instead' | 'together'>): void {
  const rest = new Set(chosen.value);
  for (const i of gone) rest.delete(i);
  chosen.value = rest;
  // Nobody has asked yet for seats that the map saw go: a click adds to the choice.
  lost(gone, rest, rest.size + areas.value.length > 0, { ...(server ?? { instead: [], together: [] }), does: server ? 'hold' : 'choose', add: [], drop: [] });
}

function lost(gone: number[], wanted: ReadonlySet<number>, more: boolean, o: Offer): void {
  const p = plan.value!, instead = o.instead.filter((list) => !list.some((i) => wanted.has(i))), named = new Set(instead.flat());
  // The server may suggest what is chosen already.
  instead.push(...nearest(p, (i) => isFree(i) && !wanted.has(i) && !named.has(i), gone).slice(0, 3 - instead.length));
  offer.value = { ...o, instead };
  const { instead: a, together: b } = offered.value, near = a.length ? a : b;
  notice.value = {
    tone: 'warn',
    text: `${placesText(p, gone)} ${gone.length === 1 ? 'has' : 'have'} just been taken by someone else.${more ? ' Your other choices are kept.' : ''}${near.length ? ' Free seats nearby are offered below.' : ''}`,
  };
  if (near.length && o.does !== 'choose') spotlight.value = [...gone, ...near.flat()];
}

/** Shows a change of tickets at once; the live feed says the same a moment later. */
function mark(tickets: number[], state: (i: number) => number): void {
  for (const i of tickets) status[i] = state(i);
  lastChange = tickets;
  version.value++;
}
const freed = (i: number): number => (kept.value[i] ? blocked : available);

/** Forgets what the last refusal said. */
function fresh(): void {
  notice.value = offer.value = apart.value = looked.value = null;
  singles.value = [];
}

/** A free ticket of an area and channel, from a random start so that buyers do not collide; -1 for none. */
function anyIn(first: number, n: number, channel: number): number {
  const start = Math.floor(Math.random() * n);
  for (let k = 0; k < n; k++) {
    const i = first + ((start + k) % n);
    if (isFree(i) && (status[i] === blocked ? kept.value[i]! : 0) === channel) return i;
  }
  return -1;
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
    getEventPlan(event.value, id).then((d) => { plan.value = readPlan(d); }).catch(said),
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
    await Promise.all([refreshHold(), refreshChannels()]);
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

/** Learns which kept tickets are open to this visitor. */
async function refreshChannels(): Promise<void> {
  try {
    setChannels((await getChannels(id)).channels);
  } catch { /* without them there is what everybody may buy */ }
}

function setChannels(list: Channel[]): void {
  if (JSON.stringify(list) === JSON.stringify(channels.value)) return;
  channels.value = list;
  lastChange = null;
  version.value++;
}

/** Opens the tickets of a channel by its code. */
export async function enter(code: string): Promise<boolean> {
  fresh();
  try {
    const had = new Set(channels.value.map((c) => c.id)), { channels: all } = await enterChannel(id, code), fresher = all.filter((c) => !had.has(c.id));
    setChannels(all);
    const n = fresher.reduce((sum, c) => sum + c.ranges.reduce((m, [a, b]) => m + b - a + 1, 0), 0);
    notice.value = { tone: 'good', text: fresher.length ? `“${fresher.map((c) => c.name).join('”, “')}”: ${plural(n, 'ticket')} kept for you, as long as ${n === 1 ? 'it is' : 'they are'} free.` : 'You have used this code already.' };
    return true;
  } catch (e) {
    notice.value = { tone: 'bad', text: problemText(e) };
    return false;
  }
}

export const limit = (): number => event.value?.max_per_buyer ?? 10;
const tooMany = (): void => { notice.value = { tone: 'warn', text: `You can buy at most ${number(limit())} tickets for this event.` }; };

/** Adds the seat to the choice or takes it out; once seats are held, to and from the hold. */
export function toggle(i: number): void {
  if (hold.value) {
    if (mine.value.has(i)) void change([], [i]);
    else if (isFree(i)) void change([i], []);
    return;
  }
  const next = new Set(chosen.value);
  if (!next.delete(i)) {
    if (!isFree(i)) return;
    if (count.value >= limit()) return tooMany();
    next.add(i);
  }
  fresh();
  chosen.value = next;
}

/** A seat was clicked on the map, by whoever looks at it. */
export function pick(i: number): void {
  if (!shopping.value) notice.value = { tone: '', text: 'Join the queue to choose seats.' };
  else toggle(i);
}

/** How many tickets of an area are chosen, or held. */
export function quantity(section: number, channel: number): number {
  const p = plan.value!;
  return hold.value
    ? [...mine.value].filter((i) => p.section[i] === section && (kept.value[i] ?? 0) === channel).length
    : areas.value.find((a) => a.section === section && a.channel === channel)?.n ?? 0;
}

/** Sets how many tickets of an area are chosen; once seats are held, adds one to the hold or drops one. */
export function setQuantity(section: number, channel: number, n: number): void {
  const p = plan.value!, s = p.sections[section]!, has = quantity(section, channel);
  if (hold.value) {
    if (n < has) void change([], [...mine.value].filter((i) => p.section[i] === section && (kept.value[i] ?? 0) === channel).slice(n));
    else if (n > has) void change([], [], () => anyIn(s.first, s.count, channel));
    return;
  }
  const most = Math.min(n, has + limit() - count.value);
  fresh();
  if (most < n) tooMany();
  areas.value = withArea(areas.value, section, channel, most);
}

/** The request whose answer never came, and its key: asking again then asks the same. */
let unanswered = { request: '', key: '' };

/** Holds what was chosen. */
export const takeChosen = (): Promise<void> => take(requestOf(plan.value!, chosen.value, areas.value, channels.value));

/** Holds the best seats there are, and the areas that were chosen. */
export const findBest = (best: BestRequest): Promise<void> => take({ ...requestOf(plan.value!, [], areas.value, channels.value), best_available: best });

/** Holds tickets, or the best seats the server finds. */
export async function take(what: HoldRequest): Promise<void> {
  if (busy.value) return;
  busy.value = true;
  fresh();
  try {
    const request = JSON.stringify(what);
    if (unanswered.request !== request) unanswered = { request, key: newKey() };
    hold.value = await createHold(id, what, unanswered.key);
    unanswered.request = '';
    chosen.value = new Set();
    areas.value = [];
    if (what.best_available) spotlight.value = hold.value.tickets.map((t) => t.ordinal);
  } catch (e) {
    if (e instanceof Problem && e.status) unanswered.request = '';
    refused(e, what);
  }
  busy.value = false;
  forgetTaken();
}

/** Says why something was not held, keeps what can be kept of the choice, and offers what can be had instead. */
function refused(e: unknown, what: HoldRequest, drop: number[] = []): void {
  notice.value = { tone: 'bad', text: problemText(e) };
  if (!(e instanceof Problem)) return;
  const p = plan.value, r = readRefusal(e), best = what.best_available;
  if (e.status === 401 || e.status === 403) void refreshMe();
  if (e.code === 'tickets-taken' && p && r.taken.length) {
    mark(r.taken.filter((i) => isFree(i)), () => held);
    const { instead, together } = r;
    if (!hold.value) return refuse(r.taken, { instead, together });
    const add = (what.ordinals ?? []).filter((i) => !r.taken.includes(i));
    lost(r.taken, new Set(add), false, { instead, together, does: 'change', add, drop });
  } else if (e.code === 'single-seats') {
    notice.value = { tone: 'warn', text: sentence(e.message) };
    singles.value = spotlight.value = r.singles;
  } else if (e.code === 'sold-out' && p && r.area !== null && areas.value[r.area]) {
    const a = areas.value[r.area]!, left = r.left ?? 0;
    areas.value = withArea(areas.value, a.section, a.channel, Math.min(a.n, left));
    notice.value = { tone: 'warn', text: `${p.sections[a.section]!.name}: ${left ? `only ${plural(left, 'ticket is', 'tickets are')} left` : 'no tickets are left'}. Your other choices are kept.` };
  } else if (e.code === 'sold-out' && best && r.left) {
    notice.value = { tone: 'warn', text: sentence(e.message) };
    if (!best.split && !best.accessible && r.left >= best.quantity) apart.value = { ...what, best_available: { ...best, split: true } };
  }
}

/** Takes a suggestion. */
export function accept(seats: number[], together: boolean): void {
  const o = offer.value;
  if (!o) return;
  if (o.does === 'change') {
    void change(together ? seats : [...o.add, ...seats], o.drop);
    return;
  }
  const next = new Set(together ? seats : [...chosen.value, ...seats]);
  if (next.size + count.value - chosen.value.size > limit()) return tooMany();
  fresh();
  chosen.value = next;
  spotlight.value = seats;
  if (o.does === 'hold') void takeChosen();
}

let changes = Promise.resolve();
/**
 * Adds tickets to the hold and drops others, all of it or nothing, one change after the other. `other` finds the ticket to
 * add where any will do, and another one when somebody was quicker.
 */
export function change(add: number[], drop: number[], other?: () => number): Promise<void> {
  return (changes = changes.then(() => changeNow(add, drop, other)));
}

async function changeNow(add: number[], drop: number[], other?: () => number): Promise<void> {
  const h = hold.value;
  if (!h) return;
  fresh();
  const has = new Set(mine.value);
  for (const i of drop) has.delete(i);
  for (const i of add) has.add(i);
  if (h.pinned) notice.value = { tone: 'warn', text: 'These tickets are being paid for and cannot be changed.' };
  else if (!has.size) notice.value = { tone: '', text: 'This is your last ticket. To let it go, give it back.' };
  else if (has.size + (other ? 1 : 0) > limit()) tooMany();
  if (notice.value) return;
  busy.value = true;
  for (let tries = other ? 3 : 1; tries > 0; tries--) {
    const extra = other?.() ?? -1, more = extra < 0 ? add : [...add, extra];
    if (other && extra < 0) {
      notice.value = { tone: 'warn', text: 'No more tickets are left there.' };
      break;
    }
    try {
      const next = await changeHold(id, h.hold, { ...(more.length && { add_ordinals: more }), ...(drop.length && { drop_ordinals: drop }) });
      mark(drop, freed);
      mark(more, () => held);
      hold.value = next;
      const p = plan.value!, said = [more.length && `${placesText(p, more)} added.`, drop.length && `${placesText(p, drop)} dropped.`].filter(Boolean);
      notice.value = { tone: 'good', text: said.join(' ') };
      break;
    } catch (e) {
      if (other && tries > 1 && e instanceof Problem && e.code === 'tickets-taken') {
        mark([extra], () => held);
        continue;
      }
      if (e instanceof Problem && e.status === 404) {
        await refreshHold();
        notice.value = { tone: 'warn', text: ranOut };
      } else refused(e, { ordinals: more }, drop);
    }
    break;
  }
  busy.value = false;
}

export const ranOut = 'The time for your seats ran out, and they are free again.';

/** Gives the held tickets back. */
export async function giveBack(): Promise<void> {
  const h = hold.value;
  if (!h || busy.value) return;
  busy.value = true;
  fresh();
  try {
    await dropHold(id, h.hold);
    hold.value = null;
    mark(h.tickets.map((t) => t.ordinal), freed);
    notice.value = { tone: '', text: 'Your seats were given back.' };
  } catch (e) {
    notice.value = { tone: 'bad', text: problemText(e) };
    await refreshHold();
  }
  busy.value = false;
}
