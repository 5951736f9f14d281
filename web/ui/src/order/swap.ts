import { computed, signal } from '@preact/signals';
import {
  type Channel, type Delta, type ExchangeHold, type ExchangeTerms, type Money, type Order, Problem, type Snapshot,
  exchangeTickets, getAvailability, getEvent, getEventPlan, getExchange, getOrder, holdToExchange, releaseToExchange,
} from '../api';
import { type AreaChoice, byTier, open, openIn, placesText, readRefusal, requestOf, withArea } from '../event/choice';
import type { Picker } from '../event/seats';
import { Feed, type FeedState } from '../feed';
import { type Plan, readPlan } from '../map/plan';
import { LiveStatus, blocked, held as inBasket } from '../map/status';
import { moneyText, sum } from '../money';
import { newKey, plural, problemText, sentence } from '../page';

export type Step = 'closed' | 'which' | 'seats' | 'sure' | 'done';
const none = new Uint8Array(0);

/**
 * One exchange, from the tickets that are given back over the choice of others, which the server holds and prices, to the order
 * with its new tickets. The key is made with the hold and stays for as long as it is not known whether the exchange was done.
 */
export class Exchange implements Picker {
  readonly step = signal<Step>('closed');
  readonly busy = signal(false);
  readonly notice = signal<{ tone: 'good' | 'warn' | 'bad' | ''; text: string } | null>(null);
  readonly terms = signal<ExchangeTerms | null>(null);
  /** Tickets to be given back. */
  readonly give = signal<readonly string[]>([]);
  readonly held = signal<ExchangeHold | null>(null);
  readonly outcome = signal('');

  readonly plan = signal<Plan | null>(null);
  readonly version = signal(0);
  readonly link = signal<FeedState>('connecting');
  lastChange: number[] | null = null;
  readonly chosen = signal<ReadonlySet<number>>(new Set());
  readonly areas = signal<readonly AreaChoice[]>([]);
  readonly spotlight = signal<number[]>([]);
  readonly shopping = signal(true);
  readonly pinned = computed(() => this.busy.value);
  readonly mine = signal<ReadonlySet<number>>(new Set());
  readonly channels = signal<Channel[]>([]);
  readonly kept = signal(none);
  readonly hints = signal<ReadonlySet<number>>(new Set());
  readonly bySection = computed(() => new Map(this.areas.value.map((a) => [a.section, a.n])));
  readonly tiersLeft = computed(() => (void this.version.value, this.plan.value ? byTier(this.plan.value, this.status, none) : []));
  readonly shut = computed(() => (void this.version.value, this.status.includes(blocked)));
  readonly count = computed(() => this.areas.value.reduce((n, a) => n + a.n, this.chosen.value.size));
  /** How much dearer the choice is than what is given back, as far as it is chosen; null if it is not. */
  readonly dearer = computed<Money | null>(() => {
    const p = this.plan.value, o = this.order;
    const old = sum(o.items.filter((i) => this.give.value.includes(i.ticket) && !i.returned_at).map((i) => i.price));
    const others = p && sum([
      ...[...this.chosen.value].map((i) => p.tiers[p.tier[i]!]!.price),
      ...this.areas.value.flatMap((a) => new Array<Money>(a.n).fill(p.tiers[p.sections[a.section]!.tier ?? 0]!.price)),
    ]);
    return old && others && others.amount > old.amount ? { ...old, amount: others.amount - old.amount } : null;
  });

  private readonly live = new LiveStatus();
  private feed: Feed | null = null;
  private key = '';
  /** The last answer to the exchange itself was lost. */
  private unsure = false;

  constructor(public order: Order, private readonly token: string | null, private readonly done: (o: Order) => void) {}

  get status(): Uint8Array { return this.live.status; }
  readonly isFree = (i: number): boolean => open(this.status, none, i);
  readonly channelOf = (): undefined => undefined;
  readonly freeIn = (first: number, n: number): number => openIn(this.status, none, first, n, 0);
  readonly limit = (): number => this.give.value.length;
  readonly quantity = (section: number): number => this.areas.value.find((a) => a.section === section)?.n ?? 0;

  /** Chooses a seat or drops it. Where one ticket is exchanged another choice takes the place of the first. */
  readonly toggle = (i: number): void => {
    if (this.busy.value) return;
    const next = new Set(this.chosen.value);
    if (!next.delete(i)) {
      if (!this.isFree(i)) return;
      if (this.count.value >= this.limit()) {
        if (this.limit() > 1) return this.enough();
        next.clear();
        this.areas.value = [];
      }
      next.add(i);
    }
    this.notice.value = null;
    this.chosen.value = next;
  };
  readonly pick = this.toggle;
  readonly setQuantity = (section: number, _: number, n: number): void => {
    if (this.busy.value) return;
    const most = Math.min(n, this.quantity(section) + this.limit() - this.count.value);
    this.notice.value = null;
    if (most < n) this.enough();
    this.areas.value = withArea(this.areas.value, section, 0, most);
  };

  private enough(): void {
    this.notice.value = { tone: 'warn', text: `You give ${plural(this.limit(), 'ticket')} back and get as many. Take one out of your choice first.` };
  }

  private async ask(what: () => Promise<void>, refused: (e: unknown) => void | Promise<void> = () => {}): Promise<void> {
    if (this.busy.value) return;
    this.busy.value = true;
    this.notice.value = null;
    try {
      await what();
    } catch (e) {
      this.notice.value = { tone: 'bad', text: problemText(e) };
      await refused(e);
    }
    this.busy.value = false;
  }

  /** Learns which tickets may be exchanged. */
  begin(): Promise<void> {
    return this.ask(() => this.which());
  }

  private async which(): Promise<void> {
    const t = await getExchange(this.order.order, this.token), can = t.tickets.filter((x) => x.allowed).map((x) => x.ticket);
    this.terms.value = t;
    this.give.value = can.length === 1 ? can : this.give.value.filter((x) => can.includes(x));
    this.held.value = null;
    this.unsure = false;
    if (!t.allowed && this.step.value === 'closed') throw new Error(sentence(t.why));
    this.step.value = 'which';
  }

  /** Goes on to the seats: which are free is followed from now on. */
  seats(): Promise<void> {
    if (!this.give.value.length) {
      this.notice.value = { tone: 'bad', text: 'Please choose at least one ticket.' };
      return Promise.resolve();
    }
    return this.ask(async () => {
      const id = this.order.event;
      if (!this.plan.value) this.plan.value = readPlan(await getEventPlan(await getEvent(id), id));
      this.snapshot(await getAvailability(id));
      if (this.count.value > this.limit()) this.clear();
      this.step.value = 'seats';
      this.watch();
    });
  }

  private clear(): void {
    this.chosen.value = new Set();
    this.areas.value = [];
  }

  private watch(): void {
    if (this.feed) return;
    const id = this.order.event;
    this.feed = new Feed({
      path: `/v1/events/${id}/live`,
      message: (m) => {
        const f = m as (Snapshot & { type: 'snapshot' }) | Delta;
        if (f.type === 'snapshot') return this.snapshot(f);
        if (f.type !== 'delta') return;
        const which = this.live.delta(f);
        if (which) this.changed(which);
        else this.feed?.restart(Math.random() * 1000);
      },
      poll: async () => {
        const s = await getAvailability(id);
        if (this.link.value === 'polling') this.snapshot(s);
        return 5000;
      },
      state: (s) => { this.link.value = s; },
    });
    this.feed.start();
  }

  private stop(): void {
    this.feed?.stop();
    this.feed = null;
  }

  private snapshot(s: Snapshot): void {
    if (this.live.snapshot(s)) this.changed(null);
  }

  private changed(which: number[] | null): void {
    this.lastChange = which;
    this.version.value++;
    if (!this.busy.value && this.step.value === 'seats') this.forgetTaken();
  }

  /** Seats in the choice that somebody else got first leave it, and are named. */
  private forgetTaken(): void {
    const p = this.plan.value, gone = [...this.chosen.value].filter((i) => !this.isFree(i));
    if (!p || !gone.length) return;
    this.chosen.value = new Set([...this.chosen.value].filter((i) => !gone.includes(i)));
    this.notice.value = { tone: 'warn', text: `${placesText(p, gone)} ${gone.length === 1 ? 'has' : 'have'} just been taken by someone else. Please choose again.` };
  }

  /** Has the choice held, and learns what comes back. */
  review(): Promise<void> {
    const missing = this.limit() - this.count.value, p = this.plan.value;
    if (missing || !p) {
      this.notice.value = { tone: 'bad', text: `Please choose ${plural(missing, 'more seat', 'more seats')}: you get as many as you give back.` };
      return Promise.resolve();
    }
    return this.ask(async () => {
      this.held.value = await holdToExchange(this.order.order, [...this.give.value], requestOf(p, this.chosen.value, this.areas.value, []), this.token);
      this.key = newKey();
      this.step.value = 'sure';
    }, (e) => this.refused(e));
  }

  private refused(e: unknown): void {
    if (!(e instanceof Problem)) return;
    const r = readRefusal(e), p = this.plan.value!;
    if (e.code === 'tickets-taken' && r.taken.length) {
      const lost = r.taken.filter((i) => this.isFree(i));
      for (const i of lost) this.status[i] = inBasket;
      this.lastChange = lost;
      this.version.value++;
      this.forgetTaken();
    } else if (e.code === 'sold-out' && r.area !== null && this.areas.value[r.area]) {
      const a = this.areas.value[r.area]!, left = r.left ?? 0;
      this.areas.value = withArea(this.areas.value, a.section, 0, Math.min(a.n, left));
      this.notice.value = { tone: 'warn', text: `${p.sections[a.section]!.name}: ${left ? `only ${plural(left, 'ticket is', 'tickets are')} left` : 'no tickets are left'}. Please choose again.` };
    } else if (e.code === 'single-seats') {
      this.notice.value = { tone: 'warn', text: sentence(e.message) };
    } else if (typeof e.body.difference === 'number') {
      this.notice.value = { tone: 'warn', text: `These cost ${moneyText({ ...this.order.total, amount: e.body.difference })} more than what you give back. Please choose some that are no dearer: an exchange takes no money.` };
    }
  }

  /** Does it. Asked for again after a lost answer, it is done once. */
  confirm(): Promise<void> {
    const h = this.held.value;
    if (!h) return Promise.resolve();
    return this.ask(async () => {
      const now = await exchangeTickets(this.order.order, h.tickets, h.hold.hold, this.key, this.token);
      this.outcome.value = `${plural(h.tickets.length, 'ticket is', 'tickets are')} exchanged${h.back.amount ? `, and ${moneyText(h.back)} is on the way to you` : ''}.`;
      this.step.value = 'done';
      this.held.value = null;
      this.give.value = [];
      this.clear();
      this.stop();
      this.order = now;
      this.done(now);
    }, async (e) => {
      if (!(e instanceof Problem) || e.status === 0 || e.status >= 500 || e.code === 'idempotency-in-flight') {
        this.unsure = true;
        this.notice.value = { tone: 'warn', text: `${problemText(e)} Perhaps it was done, perhaps not. Please try again: it is never done twice.` };
      } else if (e.code === 'hold-lapsed') this.ranOut();
      else if (e.code === 'tickets-taken') {
        this.held.value = null;
        this.step.value = 'seats';
        this.refused(e);
      } else { // of the tickets that are given back
        const said = this.notice.value;
        await this.which().catch(() => { this.step.value = 'closed'; });
        this.notice.value = said;
      }
    });
  }

  /** The time of the hold is over. */
  ranOut(): void {
    if (this.unsure) return; // trying again tells what became of it
    this.held.value = null;
    if (this.step.value === 'sure') this.step.value = 'seats';
    this.notice.value = { tone: 'warn', text: 'The time for these seats ran out, and they are free again. Your own tickets are as they were.' };
  }

  /** Back to the seats, or, while it is not known what became of the exchange, to what the order has now. */
  other(): Promise<void> {
    return this.ask(async () => {
      if (this.unsure) {
        const now = await getOrder(this.order.order, this.token);
        this.order = now;
        this.done(now);
        await this.which();
        return;
      }
      await releaseToExchange(this.order.order, this.token);
      this.held.value = null;
      this.step.value = 'seats';
    });
  }

  /** Leaves everything as it is. */
  close(): void {
    if (this.held.value && !this.unsure) void releaseToExchange(this.order.order, this.token).catch(() => { /* it lapses by itself */ });
    this.stop();
    this.held.value = this.notice.value = null;
    this.give.value = [];
    this.clear();
    this.step.value = 'closed';
  }
}
