import './checkout.css';
import { useSignal } from '@preact/signals';
import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { moneyText } from '../money';
import { Countdown, Notice, eventDate, mount, plural, useSeconds } from '../page';
import * as buy from './purchase';

const backToSeats = `/events/${buy.id}`;
const seatText = (t: { section: string; row: string; seat: string }): string => (t.row || t.seat ? `${t.section}, row ${t.row}, seat ${t.seat}` : t.section);

function Steps(): VNode {
  const at = { loading: 0, nothing: 0, details: 0, review: 1, order: 2 }[buy.step.value];
  return <ol class="steps">{['Your details', 'Review', 'Payment'].map((s, i) => <li key={s} aria-current={i === at ? 'step' : undefined}>{s}</li>)}</ol>;
}

/** Moves the focus to the heading of a step when it comes. */
function Heading({ children }: { children: string }): VNode {
  const h = useRef<HTMLHeadingElement>(null);
  useEffect(() => h.current?.focus(), []);
  return <h2 tabIndex={-1} ref={h}>{children}</h2>;
}

function Details(): VNode {
  const checked = useSignal(false), b = buy.buyer.value;
  const noName = checked.value && !b.name.trim(), noMail = checked.value && !/^\S+@\S+\.\S+$/.test(b.email.trim());
  const form = useRef<HTMLFormElement>(null);
  return (
    <form ref={form} class="card panel stack" noValidate onSubmit={(e) => {
      e.preventDefault();
      checked.value = true;
      const bad = !b.name.trim() ? 'name' : !/^\S+@\S+\.\S+$/.test(b.email.trim()) ? 'email' : '';
      if (bad) form.current?.querySelector<HTMLInputElement>(`[name=${bad}]`)?.focus();
      else buy.review();
    }}>
      <Heading>Your details</Heading>
      <div class="field">
        <label for="name">Name</label>
        <input id="name" name="name" autocomplete="name" required maxLength={200} value={b.name} aria-invalid={noName} aria-describedby={noName ? 'name-bad' : undefined} onInput={(e) => { buy.buyer.value = { ...b, name: e.currentTarget.value }; }} />
        {noName && <small id="name-bad">Please tell us the name the tickets are for.</small>}
      </div>
      <div class="field">
        <label for="email">E-mail</label>
        <input id="email" name="email" type="email" autocomplete="email" required maxLength={254} value={b.email} aria-invalid={noMail} aria-describedby={noMail ? 'mail-bad' : 'mail-why'} onInput={(e) => { buy.buyer.value = { ...b, email: e.currentTarget.value }; }} />
        {noMail ? <small id="mail-bad">Please give an address like you@example.com.</small> : <small id="mail-why">For your confirmation. Nothing else.</small>}
      </div>
      <button class="primary">Review your order</button>
    </form>
  );
}

function Review(): VNode {
  const h = buy.hold.value!, b = buy.buyer.value;
  return (
    <section class="card panel stack">
      <Heading>Review your order</Heading>
      <dl class="facts">
        <div><dt>Name</dt><dd>{b.name}</dd></div>
        <div><dt>E-mail</dt><dd>{b.email}</dd></div>
        <div><dt>Tickets</dt><dd>{h.tickets.length}</dd></div>
        <div><dt>To pay</dt><dd>{moneyText(h.total)}</dd></div>
      </dl>
      <p class="soft">Placing the order reserves your seats while you pay. You pay on the next step.</p>
      <div class="row">
        <button class="primary" disabled={buy.busy.value} onClick={() => void buy.placeOrder()}>{buy.busy.value ? 'One moment …' : 'Place the order'}</button>
        <button class="quiet" onClick={() => { buy.step.value = 'details'; }}>Change details</button>
      </div>
    </section>
  );
}

const methods: [string, string, string][] = [
  ['tok_ok', 'Card that works', 'The payment goes through'],
  ['tok_declined', 'Card that is declined', 'The bank says no'],
  ['tok_requires_action', 'Card that asks its owner', 'Needs a confirmation at the bank'],
  ['tok_timeout', 'Lost answer', 'The bank says yes, but its answer never arrives'],
  ['tok_slow', 'Slow bank', 'Takes a while'],
  ['tok_error', 'Broken gateway', 'The payment service fails'],
  ['tok_capture_fails_once', 'Collected at the second try', 'Works for you, is retried behind the scenes'],
];

function Methods(): VNode {
  return (
    <fieldset class="stack">
      <legend>Test payment method</legend>
      <p class="small soft">This is a sandbox: no money moves. Pick what should happen.</p>
      {methods.map(([token, name, what]) => (
        <label class="choice" key={token}>
          <input type="radio" name="method" value={token} checked={buy.method.value === token} onChange={() => { buy.method.value = token; }} />
          <span>{name}<br /><span class="soft small">{what}</span></span>
        </label>
      ))}
    </fieldset>
  );
}

function Payment(): VNode {
  const o = buy.order.value!, left = useSeconds(o.pay_by), action = o.payment?.next_action;
  useEffect(() => {
    if (left === 0 && o.status !== 'payment_unknown') {
      const t = setTimeout(() => void buy.look(), 1500);
      return () => clearTimeout(t);
    }
    return undefined;
  }, [left === 0, o.status]);
  if (o.status === 'payment_unknown') return <Checking />;
  if (o.status === 'paid' || o.status === 'fulfilled') {
    return <section class="card panel stack"><Heading>Paid. Thank you!</Heading><p><a href={buy.orderLink()}>Go to your tickets</a></p></section>;
  }
  if (o.status !== 'awaiting_payment' && o.status !== 'declined') {
    const what: Record<string, string> = { expired: 'The time to pay has run out', cancelled: 'The order was cancelled', refunded: 'The order was refunded', partially_refunded: 'Part of the order was refunded' };
    return (
      <section class="card panel stack">
        <Heading>{what[o.status] ?? o.status}</Heading>
        <p>{o.status === 'expired' || o.status === 'cancelled' ? 'Nothing was charged, and the seats are free for others again.' : 'The money is on its way back.'}</p>
        <p><a class="button" href={backToSeats}>Back to the event</a></p>
      </section>
    );
  }
  return (
    <section class="card panel stack">
      <Heading>Payment</Heading>
      {o.status === 'declined' && <Notice tone="warn" alert>Your bank declined the payment. Nothing was charged, and your seats are still yours: choose another way to pay.</Notice>}
      {action?.url && (
        <Notice>
          <p>Your bank wants you to confirm this payment.</p>
          <p class="row"><a class="button primary" href={action.url}>Confirm at your bank</a><button onClick={() => void buy.look()}>I have confirmed it</button></p>
        </Notice>
      )}
      <Methods />
      <button class="primary" disabled={buy.busy.value} onClick={() => void buy.pay()}>{buy.busy.value ? 'Paying …' : `Pay ${moneyText(o.total)}`}</button>
      <button class="quiet" disabled={buy.busy.value} onClick={() => void buy.cancel()}>Cancel the order</button>
    </section>
  );
}

/** The bank's answer is missing: keep asking, ever more slowly, and say so calmly. */
function Checking(): VNode {
  useEffect(() => {
    let wait = 1500, timer: ReturnType<typeof setTimeout>;
    const again = (): void => {
      timer = setTimeout(() => {
        void buy.look().then(() => {
          wait = Math.min(10_000, wait * 1.5);
          if (buy.unsettled.value) again();
        });
      }, wait);
    };
    again();
    return () => clearTimeout(timer);
  }, []);
  return (
    <section class="card panel stack">
      <div class="row"><span class="spinner" aria-hidden="true" /><Heading>Checking whether your payment went through</Heading></div>
      <p>Your bank’s answer has not reached us yet. We are asking again. Please do not pay a second time: your seats stay yours until this is clear.</p>
      <p class="soft">You may close this page. The order’s own page always shows how it ended: <a href={buy.orderLink()}>your order</a>.</p>
    </section>
  );
}

function Timer(): VNode | null {
  const h = buy.hold.value, o = buy.order.value;
  const until = buy.step.value === 'order' ? (o?.status === 'awaiting_payment' || o?.status === 'declined' ? o.pay_by : null) : h?.expires_at;
  const left = useSeconds(until);
  const holding = buy.step.value !== 'order' && !!h;
  useEffect(() => {
    if (holding && left === 0) void buy.holdEnded();
  }, [left === 0, holding]);
  if (!until || left === null) return null;
  const soon = left <= 120;
  // A hold never outlasts the time in the shop, and time asked for early would be time wasted.
  const lease = buy.me.value?.lease_ends;
  const more = holding && left <= 180 && h.extensions_left > 0 && (!lease || Date.parse(lease) - Date.parse(until) > 5000);
  return (
    <div class="stack">
      <p class="row between"><span class="soft">{holding ? 'Your seats are held for' : 'Pay within'}</span><strong class="big"><Countdown until={until} label="Time left" /></strong></p>
      <div role="alert">{soon && left > 0 && <Notice tone="warn">{more ? 'Less than two minutes left. Do you need more time?' : 'Less than two minutes left.'}</Notice>}</div>
      {more && <button disabled={buy.busy.value} onClick={() => void buy.extend()}>I need more time</button>}
    </div>
  );
}

function Summary(): VNode | null {
  const h = buy.hold.value, o = buy.order.value, e = buy.event.value;
  const items = o?.items ?? h?.tickets, total = o?.total ?? h?.total;
  if (!items || !total) return null;
  return (
    <aside class="side card panel stack" aria-label="Your tickets">
      <div><h2>{e?.name ?? 'Your tickets'}</h2>{e && <p class="soft small">{eventDate(e)}<br />{e.venue.name}, {e.venue.city}</p>}</div>
      <Timer />
      <ul class="plain items">{items.map((t) => <li key={seatText(t) + ('ticket' in t ? t.ticket : t.id)}><span>{seatText(t)}</span><span class="num">{moneyText(t.price)}</span></li>)}</ul>
      <p class="row between"><span>{plural(items.length, 'ticket')}</span><strong class="big">{moneyText(total)}</strong></p>
      {buy.step.value !== 'order' && h && (
        <p class="row between"><a href={backToSeats}>Change seats</a><button class="quiet" disabled={buy.busy.value} onClick={() => void buy.drop()}>Give seats back</button></p>
      )}
    </aside>
  );
}

function Page(): VNode {
  return (
    <>
      <h1>Checkout</h1>
      {buy.step.value !== 'nothing' && <Steps />}
      <div class="pay">
        <div class="stack">
          <div role="status">{buy.notice.value && <Notice tone={buy.notice.value.tone}>{buy.notice.value.text}</Notice>}</div>
          {buy.step.value === 'loading' && <p class="soft">Loading …</p>}
          {buy.step.value === 'nothing' && (
            <section class="card panel stack">
              <Heading>You hold no seats for this event</Heading>
              <p class="soft">Either none were chosen, or their time ran out. Nothing was charged.</p>
              <p><a class="button primary" href={backToSeats}>Choose seats</a></p>
            </section>
          )}
          {buy.step.value === 'details' && <Details />}
          {buy.step.value === 'review' && <Review />}
          {buy.step.value === 'order' && <Payment />}
        </div>
        <Summary />
      </div>
    </>
  );
}

mount(<Page />);
void buy.start();
