import { computed, signal } from '@preact/signals';
import { type Event, type Hold, type Me, type Order, type Price, Problem, cancelOrder, createOrder, dropHold, extendHold, getEvent, getHolds, getMe, getOrder, payOrder, priceHold } from '../api';
import { observe } from '../clock';
import { newKey, problemText, sentence } from '../page';
import { pathId, store } from '../shell';
import { confirm } from './stripe';

/**
 * One purchase, from the hold to the paid order. What must survive a reload
 * (the keys that make a click count once, the order and its token, the buyer's
 * words) stands in the session's storage, under the event.
 */
export const id = pathId();

interface Memory {
  hold?: string; promo?: string; orderKey?: string; name?: string; email?: string;
  order?: string; token?: string; link?: string; payKey?: string; method?: string;
}
const place = `onsale:checkout:${id}`;
let memory: Memory = JSON.parse(store.get(place, true) ?? '{}') as Memory;
function keep(m: Partial<Memory>): void {
  memory = { ...memory, ...m };
  store.set(place, JSON.stringify(memory), true);
}

export const event = signal<Event | null>(null);
export const me = signal<Me | null>(null);
export const hold = signal<Hold | null>(null);
export const order = signal<Order | null>(null);
/** What the held seats cost, with the promo code in use. */
export const price = signal<Price | null>(null);
/** Why the last promo code does not count. */
export const promoError = signal('');
export const buyer = signal({ name: memory.name ?? '', email: memory.email ?? '' });
export const step = signal<'loading' | 'nothing' | 'details' | 'review' | 'order'>('loading');
export const busy = signal(false);
export const notice = signal<{ tone: 'good' | 'warn' | 'bad' | ''; text: string } | null>(null);
export const method = signal(memory.method ?? 'tok_ok');
/** The server said nothing was charged and the same try may be repeated. */
export const unsettled = computed(() => order.value?.status === 'payment_unknown');

export const orderLink = (): string => {
  const o = order.value!, own = `/orders/${o.order}`;
  if (memory.token) return `${own}#t=${memory.token}`;
  return memory.link ?? own;
};

const failed = (e: unknown): void => { notice.value = { tone: 'bad', text: problemText(e) }; };

export async function start(): Promise<void> {
  void getEvent(id).then((e) => { event.value = e; }).catch(() => { /* the seats matter more */ });
  void getMe(id).then((m) => {
    observe(m.as_of);
    me.value = m;
  }).catch(() => { /* no lease to show */ });
  if (memory.order && (await look())) return;
  await findHold();
}

/** Looks at the order again; false when it is not to be seen. */
export async function look(): Promise<boolean> {
  try {
    settle(await getOrder(memory.order!, memory.token));
    return true;
  } catch (e) {
    if (e instanceof Problem && (e.status === 0 || e.status >= 500)) {
      failed(e);
      return step.value === 'order';
    }
    keep({ order: undefined, token: undefined, link: undefined, payKey: undefined, orderKey: undefined, hold: undefined });
    return false;
  }
}

async function findHold(): Promise<void> {
  try {
    const { holds } = await getHolds(id);
    hold.value = holds.find((h) => h.hold === memory.hold) ?? holds[0] ?? null;
  } catch (e) {
    if (!(e instanceof Problem && (e.status === 401 || e.status === 403))) failed(e);
  }
  step.value = hold.value ? 'details' : 'nothing';
  if (hold.value && hold.value.hold !== memory.hold) keep({ hold: hold.value.hold, orderKey: newKey(), order: undefined, token: undefined, link: undefined, payKey: undefined });
  price.value = hold.value?.price ?? null;
  if (hold.value && memory.promo) await reprice(memory.promo).catch(failed);
}

/** Asks what the hold costs with a code; the price without one stays when the code does not count. */
async function reprice(code: string): Promise<boolean> {
  promoError.value = '';
  let promo: string | undefined;
  try {
    price.value = await priceHold(id, hold.value!.hold, code);
    promo = price.value.promo ?? undefined;
  } catch (e) {
    if (!(e instanceof Problem && (e.code === 'promo-invalid' || e.status === 429))) throw e;
    price.value = hold.value!.price ?? null;
    promoError.value = sentence(e.detail || e.title);
  }
  // Another price is another order.
  if (promo !== memory.promo) keep({ promo, orderKey: newKey() });
  return !promoError.value;
}

function settle(o: Order): void {
  order.value = o;
  step.value = 'order';
  if (o.status === 'paid' || o.status === 'fulfilled') {
    store.set(place, null, true);
    location.replace(orderLink());
  }
}

export function review(): void {
  keep({ ...buyer.value });
  notice.value = null;
  step.value = 'review';
}

async function doing(f: () => Promise<void>): Promise<void> {
  if (busy.value) return;
  busy.value = true;
  notice.value = null;
  try {
    await f();
  } catch (e) {
    failed(e);
  }
  busy.value = false;
}

export const extend = (): Promise<void> => doing(async () => {
  hold.value = await extendHold(id, hold.value!.hold);
  notice.value = { tone: 'good', text: 'You have more time.' };
});

/** Uses a promo code, or with '' none. Tells whether it counts. */
export async function usePromo(code: string): Promise<boolean> {
  let counts = false;
  await doing(async () => { counts = await reprice(code); });
  return counts;
}

export const drop = (): Promise<void> => doing(async () => {
  await dropHold(id, hold.value!.hold);
  store.set(place, null, true);
  location.assign(`/events/${id}`);
});

/** The hold's time ran out: the server knows whether that is so. */
export async function holdEnded(): Promise<void> {
  await findHold();
  if (!hold.value) notice.value = { tone: 'warn', text: 'The time for your seats ran out, and they are free again. Nothing was charged.' };
}

export const placeOrder = (): Promise<void> => doing(async () => {
  if (!memory.orderKey) keep({ orderKey: newKey() });
  try {
    const o = await createOrder({ hold: hold.value!.hold, buyer: { name: buyer.value.name.trim(), email: buyer.value.email.trim() }, ...(memory.promo && { promo: memory.promo }) }, memory.orderKey!);
    keep({ order: o.order, token: o.order_token, link: o.link, payKey: newKey() });
    // The bank's page leads back to the order, which then finds its token here.
    if (o.order_token) store.set(`onsale:order:${o.order}`, o.order_token, true);
    settle(o);
  } catch (e) {
    // A changed name or address is a new request and needs a new key.
    if (e instanceof Problem && e.status === 422) keep({ orderKey: newKey() });
    // It was used up, or its time was over, since it was looked at: nobody pays a price they have not seen.
    if (e instanceof Problem && e.code === 'promo-invalid') {
      keep({ promo: undefined, orderKey: newKey() });
      price.value = hold.value!.price ?? null;
      promoError.value = sentence(e.detail || e.title);
      return;
    }
    throw e;
  }
});

/** `ask` gets the means of payment out of the gateway's own form; without it, it is the chosen one. */
export const pay = (ask?: (o: Order) => Promise<string>): Promise<void> => doing(async () => {
  const by = ask ? await ask(order.value!) : method.value;
  // The same try keeps its key over reloads and lost answers; another method is another try.
  if (!memory.payKey || memory.method !== by) keep({ payKey: newKey(), method: by });
  try {
    const o = await payOrder(memory.order!, by, memory.payKey!, memory.token);
    if (o.status === 'declined') keep({ payKey: newKey() });
    settle(o);
    if (o.payment?.next_action?.type === 'in_page') await answerInPage();
  } catch (e) {
    if (e instanceof Problem && e.code === 'gateway-unavailable') {
      keep({ payKey: newKey() });
      notice.value = { tone: 'warn', text: 'The payment service is not answering. Nothing was charged and your seats are still yours: please try again.' };
      return;
    }
    if (e instanceof Problem && (e.status === 0 || e.status >= 500 || e.status === 409)) {
      // Whether the payment went through is not known here; the order knows.
      if (await look()) {
        if (order.value!.status === 'awaiting_payment') notice.value = { tone: 'warn', text: `${problemText(e)}. You can try again: it will not be charged twice.` };
        return;
      }
    }
    throw e;
  }
});

/**
 * The buyer answers their bank in the page. The server hears of it from the gateway
 * and not from here, which takes a moment; so the order is looked at until it has.
 */
async function answerInPage(): Promise<void> {
  const p = order.value!.payment!;
  const refused = await confirm(p.publishable_key!, p.client_secret!);
  if (refused) notice.value = { tone: 'warn', text: refused };
  for (let wait = 500; order.value!.payment?.client_secret === p.client_secret && order.value!.payment?.next_action && wait < 8000; wait *= 1.5) {
    await new Promise((ok) => setTimeout(ok, wait));
    await look();
  }
}

export const confirmInPage = (): Promise<void> => doing(answerInPage);

export const cancel = (): Promise<void> => doing(async () => {
  const o = await cancelOrder(memory.order!, memory.token);
  if (o) settle(o);
  else await look();
});
