import './checkout.css';
import { type Signal, useSignal } from '@preact/signals';
import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { notesText } from '../map/marks';
import { moneyText } from '../money';
import { Breakdown } from '../price';
import { Countdown, Notice, eventDate, mount, plural, problemText, sentence, useSeconds } from '../page';
import * as buy from './purchase';
import { type Form, open } from './stripe';

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
      </dl>
      {buy.price.value ? <Breakdown price={buy.price.value} /> : <p>{plural(h.tickets.length, 'ticket')}, {moneyText(h.total)}</p>}
      {buy.price.value && <Promo />}
      <p class="soft">Placing the order reserves your seats while you pay. You pay on the next step.</p>
      <div class="row">
        <button class="primary" disabled={buy.busy.value} onClick={() => void buy.placeOrder()}>{buy.busy.value ? 'One moment …' : 'Place the order'}</button>
        <button class="quiet" onClick={() => { buy.step.value = 'details'; }}>Change details</button>
      </div>
    </section>
  );
}

function Promo(): VNode {
  const code = useSignal(''), said = useSignal(''), used = buy.price.value!.promo, bad = buy.promoError.value;
  const input = useRef<HTMLInputElement>(null), remove = useRef<HTMLButtonElement>(null), before = useRef(used);
  // What had the focus went with the code: what came in its place has it now.
  useEffect(() => {
    if (before.current !== used) (used ? remove : input).current?.focus();
    before.current = used;
  }, [used]);
  return (
    <div class="promo">
      {used ? (
        <p class="row between"><span>Promo code <strong>{used}</strong></span><button ref={remove} type="button" class="quiet" onClick={() => void buy.usePromo('').then(() => { said.value = 'The promo code was removed.'; })}>Remove it</button></p>
      ) : (
        <form class="row" noValidate onSubmit={(e) => {
          e.preventDefault();
          if (!code.value.trim()) return input.current?.focus();
          void buy.usePromo(code.value).then((counts) => {
            said.value = counts ? `${buy.price.value!.promo}: ${moneyText(buy.price.value!.discount)} off.` : '';
            if (counts) code.value = '';
            else input.current?.focus();
          });
        }}>
          <div class="field grow">
            <label for="promo">Promo code</label>
            <input id="promo" ref={input} maxLength={64} autocomplete="off" autocapitalize="characters" spellcheck={false} value={code.value} aria-invalid={!!bad} aria-describedby={bad ? 'promo-bad' : undefined} onInput={(e) => { code.value = e.currentTarget.value; buy.promoError.value = ''; }} />
          </div>
          <button>Use it</button>
        </form>
      )}
      <div role="alert">{bad && <small id="promo-bad">{bad}</small>}</div>
      <div role="status" class="small soft">{said.value}</div>
    </div>
  );
}

const methods: [string, string, string][] = [
  ['tok_ok', 'Card that works', 'The payment goes through'],
  ['tok_declined', 'Card that is declined', 'The bank says no'],
  ['tok_requires_action', 'Card that asks its owner', 'Needs a confirmation at the bank'],
  ['tok_timeout', 'Lost answer', 'The bank says yes, but its answer never arrives'],
  ['tok_slow', 'Slow bank', 'Takes a while'],
  ['tok_error', 'Broken gateway', 'The payment service fails'],
  ['tok_timeout_before', 'Lost question', 'The bank never hears of the payment'],
  ['tok_server_error', 'Broken answer', 'The bank says yes, and the payment service says that it failed'],
  ['tok_capture_fails_once', 'Collected at the second try', 'Works for you, is retried behind the scenes'],
  ['tok_capture_fails', 'Collected after a while', 'Works for you, is retried for some minutes behind the scenes'],
  ['tok_void_fails_once', 'Hard to give up', 'Works; if the payment has to be given up, that fails once'],
  ['tok_refund_fails_once', 'Hard to give back', 'Works; a later refund fails once'],
];

/** Stripe's own form. It is there while `form` holds it. */
function StripeForm({ form }: { form: Signal<Form | null> }): VNode {
  const at = useRef<HTMLDivElement>(null), wrong = useSignal(''), tries = useSignal(0);
  const o = buy.order.value!;
  useEffect(() => {
    let gone = false;
    wrong.value = '';
    open(at.current!, o.payment!.publishable_key!, o.total).then((f) => {
      if (gone) f.close();
      else form.value = f;
    }, (e: unknown) => { wrong.value = problemText(e); });
    return () => {
      gone = true;
      form.value?.close();
      form.value = null;
    };
  }, [tries.value]);
  return (
    <div class="stack">
      {!form.value && !wrong.value && <p class="soft">Loading the payment form …</p>}
      {wrong.value && <Notice tone="warn" alert><p>{wrong.value} Nothing was charged, and your seats are still yours.</p><p><button onClick={() => { tries.value++; }}>Try again</button></p></Notice>}
      <div ref={at} class="stripe" />
    </div>
  );
}

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
  const o = buy.order.value!, left = useSeconds(o.pay_by), action = o.payment?.next_action, form = useSignal<Form | null>(null);
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
  const stripe = o.payment?.gateway === 'stripe', free = stripe && o.total.amount === 0;
  return (
    <section class="card panel stack">
      <Heading>Payment</Heading>
      {o.status === 'declined' && <Notice tone="warn" alert>Your bank declined the payment. Nothing was charged, and your seats are still yours: choose another way to pay.{o.payment?.reason && ` The reason: ${sentence(o.payment.reason)}`}</Notice>}
      {action?.url && (
        <Notice>
          <p>Your bank wants you to confirm this payment.</p>
          <p class="row"><a class="button primary" href={action.url}>Confirm at your bank</a><button onClick={() => void buy.look()}>I have confirmed it</button></p>
        </Notice>
      )}
      {action?.type === 'in_page' && (
        <Notice>
          <p>Your bank wants you to confirm this payment.</p>
          <p class="row"><button class="primary" disabled={buy.busy.value} onClick={() => void buy.confirmInPage()}>Confirm the payment</button></p>
        </Notice>
      )}
      {stripe && !free && <StripeForm form={form} />}
      {!stripe && <Methods />}
      <button class="primary" disabled={buy.busy.value || (stripe && !free && !form.value)} onClick={() => void buy.pay(free ? async () => 'free' : stripe ? form.value!.method : undefined)}>{buy.busy.value ? 'Paying …' : `Pay ${moneyText(o.total)}`}</button>
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
  const items = o?.items ?? h?.tickets, total = o?.total ?? buy.price.value?.total ?? h?.total;
  const price = o ? o.price : null;
  if (!items || !total) return null;
  return (
    <aside class="side card panel stack" aria-label="Your tickets">
      <div><h2>{e?.name ?? 'Your tickets'}</h2>{e && <p class="soft small">{eventDate(e)}<br />{e.venue.name}, {e.venue.city}</p>}</div>
      <Timer />
      <ul class="plain items">{items.map((t) => <li key={seatText(t) + ('ticket' in t ? t.ticket : t.id)}><span>{seatText(t)}{notesText(t) && <span class="soft small note">{notesText(t)}</span>}</span><span class="num">{moneyText(t.price)}</span></li>)}</ul>
      {price ? <Breakdown price={price} /> : <p class="row between"><span>{plural(items.length, 'ticket')}</span><strong class="big">{moneyText(total)}</strong></p>}
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
