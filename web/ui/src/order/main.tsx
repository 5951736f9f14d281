import './order.css';
import { signal } from '@preact/signals';
import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { type Event, type Order, type OrderStatus, type Ticket, type TicketState, type Transfer, Problem, calendarOf, getEvent, getImage, getOrder, getTickets, mailOrder, transferTicket } from '../api';
import { moneyText } from '../money';
import { GiveUp } from './cancel';
import { Swap } from './exchange';
import { Breakdown } from '../price';
import { Art, Chip, Notice, dateText, eventDate, mount, plural, problemText, sentence } from '../page';
import { bitsOf, marksText, notesText } from '../map/marks';
import { pathId, store } from '../shell';
import { save } from '../ticket/download';
import { PassOn, PassedOn } from '../ticket/transfer';

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
const mailed = signal('');
/** What was passed on from this page, by ticket. */
const passed = signal<Record<string, Transfer>>({});

const words: Record<OrderStatus, [tone: 'good' | 'warn' | 'bad' | '', name: string, more: string]> = {
  awaiting_payment: ['warn', 'Waiting for payment', 'Your seats are reserved until the time below.'],
  payment_unknown: ['warn', 'Checking the payment', 'The bank’s answer has not reached us yet. We keep asking; please do not pay again.'],
  declined: ['warn', 'Payment declined', 'Nothing was charged. You can pay another way until the time below.'],
  paid: ['good', 'Paid', 'Your tickets are being made. This takes a moment.'],
  fulfilled: ['good', 'Your tickets', 'Show the code at the door, on paper or on your phone.'],
  expired: ['bad', 'Not paid in time', 'Nothing was charged, and the seats went back on sale.'],
  cancelled: ['bad', 'Cancelled', 'Nothing was charged, and the seats went back on sale.'],
  refunded: ['', 'Refunded', 'These tickets no longer open the door.'],
  partially_refunded: ['good', 'Partly refunded', 'Part of this order was given back. The tickets below still open the door.'],
};
const moving: OrderStatus[] = ['awaiting_payment', 'payment_unknown', 'paid', 'declined'];
const withMail: OrderStatus[] = ['fulfilled', 'partially_refunded'];
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

/** The tickets as they are now, after one of them has changed. */
const again = (): Promise<void> => getTickets(id, token).then((t) => { tickets.value = t.tickets; }, (e: unknown) => { failure.value = problemText(e); });

/** The QR picture, fetched with the link's token, as a data URL. */
function Code({ t }: { t: Ticket }): VNode {
  const [picture, show] = useState('');
  useEffect(() => {
    if (t.rotating) return;
    void getImage(t.qr, token).then((blob) => {
      const r = new FileReader();
      r.onload = () => show(r.result as string);
      r.readAsDataURL(blob);
    }).catch(() => { /* the text code below says the same */ });
  }, [t.qr]);
  return (
    <div class="code">
      {t.rotating ? (
        <p class="small phone">The door takes this ticket from a phone only: its code changes every {t.rotating.step_s} seconds. <a href={t.link}>Open the ticket</a></p>
      ) : picture ? <img src={picture} alt="QR code of this ticket" width="200" height="200" /> : <div class="wait" />}
      <code>{t.code}</code>
    </div>
  );
}

const ends: Record<Exclude<TicketState, 'valid'>, [tone: 'good' | 'warn' | '', text: (t: Ticket) => string]> = {
  scanned: ['good', (t) => `Used at the door: ${dateText(t.scanned_at, { dateStyle: 'medium', timeStyle: 'short', timeZone: event.value?.timezone })}`],
  transferred: ['', (t) => `Passed on to ${t.holder.name}`],
  refunded: ['', () => 'Refunded'],
  cancelled: ['', () => 'Cancelled'],
  exchanged: ['', () => 'Exchanged for another ticket'],
};

function TicketCard({ t }: { t: Ticket }): VNode {
  const e = event.value, o = order.value!, end = t.state === 'valid' ? null : ends[t.state], to = passed.value[t.ticket];
  const name = [t.section, t.row && `row ${t.row}`, t.seat && `seat ${t.seat}`].filter(Boolean).join(', ');
  return (
    <li class={`card ticket ${t.state}`}>
      <Art id={o.event} />
      <div class="words">
        <div><h2>{e?.name ?? 'Ticket'}</h2>{e && <p class="soft">{eventDate(e)}<br />{e.venue.name}, {e.venue.city}</p>}</div>
        <dl class="facts">
          <div><dt>Section</dt><dd>{t.section}</dd></div>
          {t.row && <div><dt>Row</dt><dd>{t.row}</dd></div>}
          {t.seat && <div><dt>Seat</dt><dd>{t.seat}</dd></div>}
          <div><dt>Category</dt><dd>{t.tier}</dd></div>
          {t.entrance && <div><dt>Entrance</dt><dd>{t.entrance}</dd></div>}
          {!!t.attributes?.length && <div><dt>Please note</dt><dd class="mark">{marksText(bitsOf(t.attributes))}</dd></div>}
          <div><dt>Name</dt><dd>{t.holder.name}</dd></div>
        </dl>
        {end && <p><Chip tone={end[0]}>{end[1](t)}</Chip></p>}
        {to && <PassedOn to={to} />}
        {t.state === 'valid' && (
          <div class="row noprint acts">
            <a class="button" href={t.link} aria-label={`On the phone: ${name}`}>On the phone</a>
            <button aria-label={`PDF: ${name}`} onClick={() => void save(t.pdf, token, 'ticket.pdf').catch((x: unknown) => { failure.value = problemText(x); })}>PDF</button>
            <PassOn name={name} level="h3" give={(p) => transferTicket(id, t.ticket, p, token)} done={(p) => { passed.value = { ...passed.value, [t.ticket]: p }; void again(); }} />
          </div>
        )}
      </div>
      {t.state === 'valid' && t.code && <Code t={t} />}
    </li>
  );
}

/** The e-mail with the tickets, once more. */
function MailAgain({ o }: { o: Order }): VNode | null {
  const [busy, setBusy] = useState(false), to = o.buyer?.email;
  if (!withMail.includes(o.status) || !to || /\.invalid$/i.test(to)) return null;
  return (
    <>
      <button disabled={busy} onClick={() => {
        setBusy(true);
        mailed.value = '';
        mailOrder(id, token).then((m) => { mailed.value = `The e-mail is on its way to ${m.recipient}.`; }, (e: unknown) => { mailed.value = problemText(e); }).finally(() => setBusy(false));
      }}>Send the e-mail again</button>
      <span role="status" class="small">{mailed.value}</span>
    </>
  );
}

/** What was paid and what of it went back, where something did. */
function GivenBack({ o }: { o: Order }): VNode | null {
  const back = o.refunded;
  if (!back?.amount) return null;
  return (
    <dl class="sums receipt">
      <div><dt>Paid</dt><dd class="num">{moneyText(o.total)}</dd></div>
      <div><dt>Given back, or on its way</dt><dd class="num">{moneyText({ ...back, amount: -back.amount })}</dd></div>
      <div class="total"><dt>In all</dt><dd class="num">{moneyText({ ...back, amount: o.total.amount - back.amount })}</dd></div>
    </dl>
  );
}

/** What became of a ticket that the order does not have any more. */
const left = (o: Order, t: Order['items'][number]): string =>
  (!t.returned_at ? '' : o.price && !o.price.items.some((p) => p.ticket === t.ticket) ? 'exchanged' : 'given back');

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
  const [tone, name, more] = words[o.status], back = o.refunded, had = o.price?.items.length ?? o.items.length, payable = o.status === 'awaiting_payment' || o.status === 'declined';
  return (
    <div class="stack">
      <div class="headline">
        <p class="soft small">Order {o.order}</p>
        <div class="row"><h1>{name}</h1><Chip tone={tone}>{o.status.replace(/_/g, ' ')}</Chip></div>
        <p class="soft" role="status">{!!back?.amount && `${moneyText(back)} of ${moneyText(o.total)} goes back the way you paid, which takes a few days. `}{more}</p>
        {payable && o.pay_by && <p>Pay by <strong>{dateText(o.pay_by, { timeStyle: 'short' })}</strong>. <a href={`/checkout/${o.event}`}>Go to the payment</a></p>}
        <p class="row noprint">
          {!!tickets.value?.length && <button onClick={() => print()}>Print</button>}
          {tickets.value?.some((t) => t.pdf) && <button onClick={() => void save(`/v1/orders/${id}/tickets.pdf`, token, 'tickets.pdf').catch((e: unknown) => { failure.value = problemText(e); })}>All as PDF</button>}
          <button onClick={() => void navigator.clipboard?.writeText(`${location.origin}/orders/${id}${token ? `#t=${token}` : ''}`).then(() => { copied.value = true; })}>Copy the link to this page</button>
          <span role="status" class="small">{copied.value && 'Copied. Whoever has the link has the tickets.'}</span>
          <MailAgain o={o} />
        </p>
      </div>
      {failure.value && <Notice tone="warn">{failure.value}</Notice>}
      {!!tickets.value?.length && <ul class="plain stack" aria-label="Tickets">{tickets.value.map((t) => <TicketCard key={t.ticket} t={t} />)}</ul>}
      <Swap o={o} event={event.value} token={token} done={(now) => {
        order.value = now;
        tickets.value = tickets.value?.filter((t) => !now.items.some((i) => i.ticket === t.ticket && i.returned_at)) ?? null;
        void again();
      }} />
      <GiveUp o={o} event={event.value} token={token} done={(now) => {
        order.value = now;
        tickets.value = tickets.value?.filter((t) => !now.items.some((i) => i.ticket === t.ticket && i.returned_at)) ?? null;
        void again();
      }} />
      <section class="card panel stack">
        <h2>{plural(had, 'ticket')}, {moneyText(o.price?.total ?? o.total)}</h2>
        <div class="scroll">
          <table>
            <thead><tr><th>Section</th><th>Row</th><th>Seat</th><th class="end">Price</th></tr></thead>
            <tbody>{o.items.map((t) => <tr key={t.ticket}><td>{t.section}</td><td>{t.row}</td><td>{t.seat}{left(o, t) && <span class="soft small note">{left(o, t)}</span>}{notesText(t) && <span class="soft small note">{notesText(t)}</span>}</td><td class="end">{moneyText(t.price)}</td></tr>)}</tbody>
          </table>
        </div>
        {o.price && <div class="receipt"><Breakdown price={o.price} /></div>}
        <GivenBack o={o} />
        {!!o.history?.length && (
          <>
            <h3>What happened</h3>
            <ol class="timeline">{o.history.map((h) => <li key={h.at + h.status}><span>{words[h.status]?.[1] ?? h.status}{h.note && <span class="soft small note">{sentence(h.note)}</span>}</span><span class="soft small">{dateText(h.at, { dateStyle: 'medium', timeStyle: 'medium' })}</span></li>)}</ol>
          </>
        )}
        <p class="noprint"><a href={`/events/${o.event}`}>About the event</a> · <a href={calendarOf(o.event)}>Add to the calendar</a></p>
      </section>
    </div>
  );
}

mount(<Page />);
void look();
