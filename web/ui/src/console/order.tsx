import { useSignal } from '@preact/signals';
import type { VNode } from 'preact';
import { useEffect } from 'preact/hooks';
import { notesText } from '../map/marks';
import { moneyText } from '../money';
import { plural, problemText } from '../page';
import { Breakdown } from '../price';
import { act } from './act';
import { type Email, type OrderWithMoney, type Payment, confirmAgain, listEmails, resend, seeOrder } from './calls';
import { type Desk, Exchange, RefundForm } from './change';
import { LookButton, Status, Table, Title, Trouble, eventName, placeOf, when, words } from './parts';
import { isPaid, keptOf, leftOf } from './refund';

/** One order with its money, and what can be done about it. */
export function OneOrder({ id, back }: { id: string; back: () => void }): VNode {
  const order = useSignal<OrderWithMoney | null>(null), emails = useSignal<Email[] | null>(null), failed = useSignal('');
  const read = async (): Promise<void> => {
    const [o, m] = await Promise.allSettled([seeOrder(id), listEmails({ order: id, limit: 50 })]);
    if (o.status === 'fulfilled') {
      order.value = o.value;
      failed.value = '';
    } else {
      failed.value = problemText(o.reason);
    }
    // A server may send no e-mails; the order is shown all the same.
    emails.value = m.status === 'fulfilled' ? m.value.emails : null;
  };
  useEffect(() => void read(), []);
  const o = order.value;
  return (
    <div class="stack">
      <p><button onClick={back}>← All orders</button></p>
      <div class="row between"><Title>{o ? `Order of ${o.buyer?.name ?? 'nobody named'}` : 'Order'}</Title>{o && <span class="row"><Status of={o.status} /><button onClick={() => void read()}>Read again</button></span>}</div>
      {failed.value && <div class="notice bad" role="alert"><span class="row between">The order could not be read. {failed.value}<button onClick={() => void read()}>Try again</button></span></div>}
      {o && <Whole o={o} emails={emails.value} read={read} />}
    </div>
  );
}

function Whole({ o, emails, read }: { o: OrderWithMoney; emails: Email[] | null; read: () => Promise<void> }): VNode {
  // A question stays for as long as it is not answered, whatever the order has become meanwhile.
  const asking = useSignal(false), d: Desk = { o, asking, read };
  const facts: [string, string][] = [
    ['Total', moneyText(o.total)], ['Given back', moneyText(o.refunded)], ['Left', moneyText({ ...o.total, amount: leftOf(o) })], ['E-mail', o.buyer?.email ?? ''],
    ['Event', eventName(o.event)], ['Placed', when(o.created_at)], ...(o.status === 'awaiting_payment' ? [['To be paid by', when(o.pay_by)] as [string, string]] : []),
    ['Order', o.order], ['Visitor', o.visitor],
  ];
  return (
    <>
      <dl class="card panel facts wide-facts">{facts.map(([name, x]) => <div key={name}><dt>{name}</dt><dd>{x}</dd></div>)}</dl>
      <div class="pair">
        <section class="card panel stack" aria-labelledby="items">
          <h2 id="items">Tickets</h2>
          <Table name="Tickets of the order" empty="It has no tickets." heads={['Ticket', 'Price', 'State']} rows={o.items.map((i) => (
            <tr key={i.ticket}><td>{placeOf(i)}<div class="soft small">{[i.tier, notesText(i)].filter(Boolean).join(' · ')}</div></td><td>{moneyText(i.price)}</td><td>{i.returned_at ? <>given back<div class="soft small">{when(i.returned_at)}</div></> : words(isPaid(o) ? 'the buyer’s' : o.status)}</td></tr>
          ))} />
          {o.price && <Breakdown price={o.price} />}
        </section>
        <section class="card panel stack" aria-labelledby="history">
          <h2 id="history">What happened</h2>
          <ol class="timeline">{(o.history ?? []).map((h, i) => <li key={i}><strong>{words(h.status)}</strong> <span class="soft small">{when(h.at)}</span>{h.note && <div class="small">{h.note}</div>}</li>)}</ol>
        </section>
      </div>
      {(isPaid(o) || asking.value) && <div class="pair"><RefundForm d={d} />{(!!keptOf(o).length || asking.value) && <Exchange d={d} />}</div>}
      <section class="card panel stack" aria-labelledby="payments">
        <h2 id="payments">Payments</h2>
        <Payments list={o.payments} done={read} />
      </section>
      <section class="card panel stack" aria-labelledby="refunds">
        <h2 id="refunds">Refunds</h2>
        <Table name="Refunds of the order" empty="Nothing was given back." heads={['When', 'Amount', 'State', 'For', 'By']} rows={o.refunds.map((r) => (
          <tr key={r.refund}>
            <td>{when(r.created_at)}</td><td>{moneyText(r.amount)}</td>
            <td><Status of={r.status} /><Trouble of={r} />{r.status === 'pending' && r.failures > 0 && <LookButton payment={r.payment} done={read} />}</td>
            <td>{r.tickets.length ? plural(r.tickets.length, 'ticket') : 'money alone'}{r.reason && <div class="soft small">{r.reason}</div>}</td><td>{r.actor}</td>
          </tr>
        ))} />
      </section>
      {emails && <Emails o={o} list={emails} read={read} />}
    </>
  );
}

/** Nothing is due about a payment in these, but that the gateway's books say the same. */
const over = ['captured', 'voided', 'declined', 'failed', 'refunded'];

export function Payments({ list, done, of }: { list: Payment[]; done: () => Promise<void>; of?: (order: string) => VNode }): VNode {
  return (
    <Table name="Payments" empty="Nobody has tried to pay." heads={[...(of ? ['Order'] : []), 'Attempt', 'Amount', 'State', 'Changed', 'Gateway’s books', '']} rows={list.map((p) => (
      <tr key={p.payment}>
        {of && <td>{of(p.order)}</td>}
        <td>{p.attempt}<div class="soft small">{p.gateway}</div></td>
        <td>{moneyText(p.amount)}{!!p.refunded.amount && <div class="soft small">{moneyText(p.refunded)} back</div>}</td>
        <td><Status of={p.status} />{p.reason && <div class="small">{words(p.reason)}</div>}<Trouble of={p} /></td>
        <td>{when(p.updated_at)}</td>
        <td>{p.compared_at ? <span class="soft small">compared {when(p.compared_at)}</span> : <span class="soft small">not compared yet</span>}</td>
        <td class="end"><LookButton payment={p.payment} over={!p.failures && over.includes(p.status)} done={done} /></td>
      </tr>
    ))} />
  );
}

function Emails({ o, list, read }: { o: OrderWithMoney; list: Email[]; read: () => Promise<void> }): VNode {
  return (
    <section class="card panel stack" aria-labelledby="emails">
      <div class="row between"><h2 id="emails">E-mails</h2>{isPaid(o) && <button onClick={() => void act('The confirmation is on its way again.', () => confirmAgain(o.order)).then(read)}>Send the confirmation again</button>}</div>
      <EmailTable list={list} read={read} name="E-mails about the order" />
    </section>
  );
}

export const EmailTable = ({ list, read, name, of }: { list: Email[] | null; read: () => Promise<void>; name: string; of?: (order: string) => VNode }): VNode => (
  <Table name={name} empty="No e-mails." heads={['When', 'What', 'To', 'State', '']} rows={list && list.map((m) => (
    <tr key={m.id}>
      <td>{when(m.created_at)}{m.sent_at && <div class="soft small">sent {when(m.sent_at)}</div>}</td>
      <td>{words(m.kind)}{of && m.order && <div>{of(m.order)}</div>}</td><td>{m.recipient}</td>
      <td><Status of={m.status} />{m.last_error && <div class="small">{m.last_error}</div>}{m.status === 'pending' && m.next_at && <div class="soft small">not before {when(m.next_at)}</div>}</td>
      <td class="end">{(m.status === 'sent' || m.status === 'failed' || m.status === 'skipped') && <button aria-label={`Send again: ${words(m.kind)} to ${m.recipient}`} onClick={() => void act(`The ${words(m.kind)} is on its way to ${m.recipient} again.`, () => resend(m.id)).then(read)}>Send again</button>}</td>
    </tr>
  ))} />
);
