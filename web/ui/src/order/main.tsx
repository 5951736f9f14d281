import './order.css';
import { signal } from '@preact/signals';
import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { type Event, type Order, type OrderStatus, type Ticket, Problem, getEvent, getImage, getOrder, getTickets } from '../api';
import { moneyText } from '../money';
import { Art, Chip, Notice, dateText, eventDate, mount, plural, problemText } from '../page';
import { pathId, store } from '../shell';

const id = pathId(), place = `onsale:order:${id}`;

// The link's token stays out of requests' addresses: it is in the fragment, and goes into a header.
const inLink = new URLSearchParams(location.hash.slice(1)).get('t');
if (inLink) store.set(place, inLink, true);
const token = inLink ?? store.get(place, true);

const order = signal<Order | null>(null);
const event = signal<Event | null>(null);
const tickets = signal<Ticket[] | null>(null);
const failure = signal('');
const copied = signal(false);

const words: Record<OrderStatus, [tone: 'good' | 'warn' | 'bad' | '', name: string, more: string]> = {
  awaiting_payment: ['warn', 'Waiting for payment', 'Your seats are reserved until the time below.'],
  payment_unknown: ['warn', 'Checking the payment', 'The bank’s answer has not reached us yet. We keep asking; please do not pay again.'],
  declined: ['warn', 'Payment declined', 'Nothing was charged. You can pay another way until the time below.'],
  paid: ['good', 'Paid', 'Your tickets are being made. This takes a moment.'],
  fulfilled: ['good', 'Your tickets', 'Show the code at the door, on paper or on your phone.'],
  expired: ['bad', 'Not paid in time', 'Nothing was charged, and the seats went back on sale.'],
  cancelled: ['bad', 'Cancelled', 'Nothing was charged, and the seats went back on sale.'],
  refunded: ['', 'Refunded', 'The money is on its way back. These tickets no longer open the door.'],
  partially_refunded: ['', 'Partly refunded', 'Part of the money is on its way back.'],
};
const moving: OrderStatus[] = ['awaiting_payment', 'payment_unknown', 'paid', 'declined'];
const withTickets: OrderStatus[] = ['paid', 'fulfilled', 'partially_refunded'];

let wait = 1000;
async function look(): Promise<void> {
  try {
    const before = order.value?.status, o = await getOrder(id, token);
    order.value = o;
    failure.value = '';
    if (!event.value) void getEvent(o.event).then((e) => { event.value = e; }).catch(() => { /* the tickets still show */ });
    if (withTickets.includes(o.status) && !tickets.value?.length) {
      tickets.value = (await getTickets(id, token).catch((e: unknown) => {
        if (e instanceof Problem && e.status < 500 && e.status !== 409 && e.status !== 404) throw e;
        return { tickets: [] };
      })).tickets;
    }
    wait = before === o.status ? Math.min(15_000, wait * 1.5) : 1000;
    if (moving.includes(o.status) || (withTickets.includes(o.status) && !tickets.value?.length)) setTimeout(() => void look(), wait);
  } catch (e) {
    failure.value = problemText(e);
    if (e instanceof Problem && (e.status === 0 || e.status >= 500)) {
      wait = Math.min(15_000, wait * 2);
      setTimeout(() => void look(), Math.max(wait, e.retryAfter * 1000));
    }
  }
}

/** The QR picture, fetched with the link's token, as a data URL. */
function Code({ t }: { t: Ticket }): VNode {
  const [picture, show] = useState('');
  useEffect(() => {
    void getImage(t.qr, token).then((blob) => {
      const r = new FileReader();
      r.onload = () => show(r.result as string);
      r.readAsDataURL(blob);
    }).catch(() => { /* the text code below says the same */ });
  }, [t.qr]);
  return (
    <div class="code">
      {picture ? <img src={picture} alt="QR code of this ticket" width="168" height="168" /> : <div class="wait" />}
      <code>{t.code}</code>
    </div>
  );
}

function TicketCard({ t }: { t: Ticket }): VNode {
  const e = event.value, o = order.value!;
  return (
    <li class="card ticket">
      <Art id={o.event} />
      <div class="words">
        <div><h2>{e?.name ?? 'Ticket'}</h2>{e && <p class="soft">{eventDate(e)}<br />{e.venue.name}, {e.venue.city}</p>}</div>
        <dl class="facts">
          <div><dt>Section</dt><dd>{t.section}</dd></div>
          {t.row && <div><dt>Row</dt><dd>{t.row}</dd></div>}
          {t.seat && <div><dt>Seat</dt><dd>{t.seat}</dd></div>}
          <div><dt>Category</dt><dd>{t.tier}</dd></div>
          {o.buyer?.name && <div><dt>Name</dt><dd>{o.buyer.name}</dd></div>}
        </dl>
      </div>
      <Code t={t} />
    </li>
  );
}

function Page(): VNode {
  const o = order.value;
  if (!o) {
    return failure.value ? (
      <div class="stack">
        <h1>Your order</h1>
        <Notice tone="bad" alert>{failure.value}</Notice>
        <p>An order opens with the link that was shown when it was placed. Please use that link.</p>
      </div>
    ) : <p class="soft">Loading your order …</p>;
  }
  const [tone, name, more] = words[o.status], payable = o.status === 'awaiting_payment' || o.status === 'declined';
  return (
    <div class="stack">
      <div class="headline">
        <p class="soft small">Order {o.order}</p>
        <div class="row"><h1>{name}</h1><Chip tone={tone}>{o.status.replace(/_/g, ' ')}</Chip></div>
        <p class="soft" role="status">{more}</p>
        {payable && o.pay_by && <p>Pay by <strong>{dateText(o.pay_by, { timeStyle: 'short' })}</strong>. <a href={`/checkout/${o.event}`}>Go to the payment</a></p>}
        <p class="row noprint">
          {!!tickets.value?.length && <button onClick={() => print()}>Print</button>}
          <button onClick={() => void navigator.clipboard?.writeText(`${location.origin}/orders/${id}${token ? `#t=${token}` : ''}`).then(() => { copied.value = true; })}>Copy the link to this page</button>
          <span role="status" class="small">{copied.value && 'Copied. Whoever has the link has the tickets.'}</span>
        </p>
      </div>
      {failure.value && <Notice tone="warn">{failure.value}</Notice>}
      {!!tickets.value?.length && <ul class="plain stack" aria-label="Tickets">{tickets.value.map((t) => <TicketCard key={t.ticket} t={t} />)}</ul>}
      <section class="card panel stack">
        <h2>{plural(o.items.length, 'ticket')}, {moneyText(o.total)}</h2>
        <div class="scroll">
          <table>
            <thead><tr><th>Section</th><th>Row</th><th>Seat</th><th class="end">Price</th></tr></thead>
            <tbody>{o.items.map((t) => <tr key={t.ticket}><td>{t.section}</td><td>{t.row}</td><td>{t.seat}</td><td class="end">{moneyText(t.price)}</td></tr>)}</tbody>
          </table>
        </div>
        {!!o.history?.length && (
          <>
            <h3>What happened</h3>
            <ol class="timeline">{o.history.map((h) => <li key={h.at + h.status}><span>{words[h.status]?.[1] ?? h.status}</span><span class="soft small">{dateText(h.at, { dateStyle: 'medium', timeStyle: 'medium' })}</span></li>)}</ol>
          </>
        )}
        <p class="noprint"><a href={`/events/${o.event}`}>About the event</a></p>
      </section>
    </div>
  );
}

mount(<Page />);
void look();
