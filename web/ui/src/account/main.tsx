import './account.css';
import { signal } from '@preact/signals';
import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { type Account, type Event, type Order, Problem, askCode, eraseAccount, getAccount, getAccountOrders, getEvent, signIn, signOut } from '../api';
import { moneyText } from '../money';
import { Chip, Notice, dateText, eventDate, mount, plural, problemText } from '../page';
import { pageData, store } from '../shell';
import { save } from '../ticket/download';

/** `issuer` is its name, where one can sign in there; `failed` says why that led to nothing. */
const how = pageData<{ sign_in: string; issuer: string; failed: string }>(), way = how.sign_in, byCode = way !== 'oidc' && way !== 'off';
const back = new URLSearchParams(location.search).get('return');
if (location.search) history.replaceState(null, '', location.pathname); // told once

/** undefined until it is known whether somebody is signed in. */
const account = signal<Account | null | undefined>(undefined);
const orders = signal<Order[]>([]);
const next = signal<string | null>(null);
const events = signal<Record<string, Event>>({});
const failure = signal(how.failed ?? '');
const said = signal('');
/** The address that a code was sent to; '' before. */
const sentTo = signal('');
const busy = signal(false);
const erasing = signal(false);

const states: Record<Order['status'], [tone: 'good' | 'warn' | 'bad' | '', name: string]> = {
  awaiting_payment: ['warn', 'Waiting for payment'], payment_unknown: ['warn', 'Checking the payment'], declined: ['warn', 'Payment declined'],
  paid: ['good', 'Paid'], fulfilled: ['good', 'Tickets ready'], expired: ['', 'Not paid in time'], cancelled: ['', 'Cancelled'],
  refunded: ['', 'Refunded'], partially_refunded: ['', 'Partly refunded'],
};

/** Does one thing at a time, and says what went wrong with it. */
async function act(what: () => Promise<void>): Promise<void> {
  if (busy.value) return;
  busy.value = true;
  failure.value = said.value = '';
  try {
    await what();
  } catch (e) {
    failure.value = problemText(e);
    if (e instanceof Problem && e.status === 401 && account.value) account.value = null;
  } finally {
    busy.value = false;
  }
}

async function load(cursor?: string): Promise<void> {
  const page = await getAccountOrders(cursor);
  orders.value = cursor ? [...orders.value, ...page.orders] : page.orders;
  next.value = page.next_cursor;
  for (const id of new Set(page.orders.map((o) => o.event))) {
    if (!events.value[id]) void getEvent(id).then((e) => { events.value = { ...events.value, [id]: e }; }, () => { /* the order says enough */ });
  }
}

async function begin(): Promise<void> {
  try {
    account.value = await getAccount();
    failure.value = ''; // of a sign-in that somebody did not need
    await load();
  } catch (e) {
    account.value ??= null;
    if (!(e instanceof Problem && e.status === 401)) failure.value = problemText(e);
  }
}

/** What this browser remembers of orders and places must not be the next reader's. */
function forget(): void {
  for (const s of [() => localStorage, () => sessionStorage]) {
    try {
      for (const k of Object.keys(s())) if (k.startsWith('onsale:')) s().removeItem(k);
    } catch { /* nothing is remembered */ }
  }
  account.value = null;
  orders.value = [];
  next.value = null;
  sentTo.value = '';
  erasing.value = false;
}

const field = (form: HTMLFormElement, name: string): string => String(new FormData(form).get(name) ?? '').trim();

function SignIn(): VNode {
  const code = useRef<HTMLInputElement>(null);
  const to = sentTo.value;
  useEffect(() => { if (to) code.current?.focus(); }, [to]);
  return (
    <section class="card panel stack">
      <h1>My orders</h1>
      {failure.value && <Notice tone="bad" alert>{failure.value}</Notice>}
      {how.issuer && !to && (
        <div class="stack">
          {!byCode && <p>Sign in to see everything you have bought, on any device. You never need this to buy.</p>}
          <p><a class="button primary" href={`/v1/account/oidc${back ? `?return=${encodeURIComponent(back)}` : ''}`}>Sign in with {how.issuer}</a></p>
          {byCode && <p class="soft">Or without it:</p>}
        </div>
      )}
      {!byCode ? !how.issuer && <p>{way === 'off' ? 'This site has no accounts. Your orders open with the links that were shown and sent to you.' : 'Sign in on the site that brought you here. Then this page shows what you have bought.'}</p> : !to ? (
        <form class="stack" onSubmit={(e) => { e.preventDefault(); const email = field(e.currentTarget, 'email'); void act(async () => { await askCode(email); store.set('onsale:email', email, true); sentTo.value = email; }); }}>
          <p>We send a code to your e-mail address. It shows everything that was bought with that address, on any device. You never need this to buy.</p>
          <label class="field">E-mail<input name="email" type="email" autocomplete="email" required maxLength={254} defaultValue={store.get('onsale:email', true) ?? ''} /></label>
          <p><button class={how.issuer ? '' : 'primary'} disabled={busy.value}>Send me a code</button></p>
        </form>
      ) : (
        <form class="stack" onSubmit={(e) => { e.preventDefault(); const typed = field(e.currentTarget, 'code'); void act(async () => { account.value = (await signIn(to, typed)).account; sentTo.value = ''; await load(); }); }}>
          <p role="status">A code is on its way to <strong>{to}</strong>. It works for ten minutes.</p>
          <label class="field code">Code<input ref={code} name="code" autocomplete="one-time-code" autocapitalize="characters" spellcheck={false} required maxLength={20} placeholder="XXXX-XXXX" /></label>
          <p class="row"><button class="primary" disabled={busy.value}>Sign in</button><button type="button" class="quiet" onClick={() => { sentTo.value = ''; failure.value = ''; }}>Another address</button></p>
        </form>
      )}
    </section>
  );
}

function Bought({ o }: { o: Order }): VNode {
  const e = events.value[o.event], [tone, name] = states[o.status];
  return (
    <li>
      <a class="card bought" href={o.link}>
        <span class="row between"><h2>{e?.name ?? 'Order'}</h2><Chip tone={tone}>{name}</Chip></span>
        {e && <span>{eventDate(e, { dateStyle: 'medium', timeStyle: 'short' })}</span>}
        <span class="soft small">{plural(o.items.length, 'ticket')}, {moneyText(o.total)}, ordered {dateText(o.created_at, { dateStyle: 'medium' })}</span>
      </a>
    </li>
  );
}

/** Asks before anything is lost. */
function Erase(): VNode {
  const title = useRef<HTMLHeadingElement>(null);
  useEffect(() => title.current?.focus(), []);
  const erase = (evenWithTickets: boolean): Promise<void> => act(async () => {
    await eraseAccount(evenWithTickets);
    forget();
    said.value = 'You are forgotten. The orders stay in the books without your name.';
  });
  return (
    <section class="card panel stack" aria-labelledby="erase">
      <h2 id="erase" ref={title} tabIndex={-1}>Erase my data?</h2>
      <p>Your name and address are taken out of everything that is stored here, and you are signed out everywhere. This cannot be taken back.</p>
      <form class="stack" onSubmit={(e) => { e.preventDefault(); void erase(new FormData(e.currentTarget).has('tickets')); }}>
        <label class="choice"><input type="checkbox" name="tickets" />Even if I have tickets for events to come. They stay valid, but nobody can tell me about changes.</label>
        <p class="row"><button class="danger" disabled={busy.value}>Erase everything</button><button type="button" onClick={() => { erasing.value = false; }}>Keep it</button></p>
      </form>
    </section>
  );
}

function Page(): VNode {
  const who = account.value;
  if (who === undefined) return <p class="soft">Loading …</p>;
  if (!who) return <div class="stack">{said.value && <Notice tone="good"><p role="status">{said.value}</p></Notice>}<SignIn /></div>;
  return (
    <div class="stack">
      <div class="row between">
        <div><h1>My orders</h1><p class="soft">{who.email ?? who.name}</p></div>
        <button disabled={busy.value} onClick={() => void act(async () => { await signOut(); forget(); })}>Sign out</button>
      </div>
      {failure.value && <Notice tone="bad" alert>{failure.value}</Notice>}
      {orders.value.length ? <ul class="plain stack" aria-label="Orders">{orders.value.map((o) => <Bought key={o.order} o={o} />)}</ul> : <Notice>Nothing was bought with this address yet.</Notice>}
      {next.value && <p><button disabled={busy.value} onClick={() => void act(() => load(next.value!))}>Show more</button></p>}
      {erasing.value ? <Erase /> : (
        <p class="row">
          <button onClick={() => void act(() => save('/v1/account/export', null, 'personal-data.json'))}>Download my data</button>
          <button class="danger" onClick={() => { erasing.value = true; }}>Erase my data</button>
        </p>
      )}
    </div>
  );
}

mount(<Page />);
void begin();
