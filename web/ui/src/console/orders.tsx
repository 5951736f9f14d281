import { useSignal } from '@preact/signals';
import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { OrderStatus } from '../api';
import { moneyText } from '../money';
import { listOrders, orderStatuses } from './calls';
import { OneOrder } from './order';
import { EventField, More, Status, Table, Title, event, eventName, opened, openOrder, seatOf, useList, when, words } from './parts';

/** What the list was searched for; it stands while one order is looked at. */
const asked = { q: '', status: '' as OrderStatus | '' };
let last = '';

export default function Orders(): VNode {
  return opened.value ? <OneOrder key={opened.value} id={opened.value} back={() => { last = opened.value; opened.value = ''; }} /> : <List />;
}

function List(): VNode {
  const q = useSignal(asked.q), status = useSignal(asked.status), here = useRef<HTMLDivElement>(null);
  const list = useList((cursor) => listOrders({ q: q.value.trim(), status: status.value, event: event.value, limit: 25, cursor }).then((r) => [r.orders, r.next_cursor]));
  useEffect(() => {
    [asked.q, asked.status] = [q.value, status.value];
    void list.load();
  }, [status.value, event.value]);
  useEffect(() => { // back from an order, to its row
    if (last && list.items) {
      here.current?.querySelector<HTMLElement>(`[data-order="${last}"]`)?.focus();
      last = '';
    }
  }, [list.items]);
  return (
    <div class="stack" ref={here}>
      <Title>Orders</Title>
      <form class="card panel find" role="search" onSubmit={(e) => {
        e.preventDefault();
        asked.q = q.value;
        void list.load();
      }}>
        <label class="field">Order, name or e-mail<input type="search" maxLength={254} value={q.value} onInput={(e) => { q.value = e.currentTarget.value; }} /></label>
        <label class="field">State<select value={status.value} onChange={(e) => { status.value = e.currentTarget.value as OrderStatus | ''; }}><option value="">Any</option>{orderStatuses.map((s) => <option key={s} value={s}>{words(s)}</option>)}</select></label>
        <EventField all />
        <button class="primary">Search</button>
      </form>
      <div class="card panel stack">
        <Table name="Orders found" empty="No order fits." heads={['Order', 'Buyer', 'Event', 'Tickets', 'Total', 'State']} rows={list.items && list.items.map((o) => (
          <tr key={o.order}>
            <td><button class="link" data-order={o.order} onClick={() => openOrder(o.order)}><code>{o.order}</code></button>{o.created_at && <div class="soft small">{when(o.created_at)}</div>}</td>
            <td>{o.buyer?.name}<div class="soft small">{o.buyer?.email}</div></td>
            <td>{eventName(o.event)}</td>
            <td>{o.items?.map((i) => <div key={i.ticket} class="small">{i.returned_at ? <s>{seatOf(i)}</s> : seatOf(i)}</div>)}</td>
            <td>{moneyText(o.total)}{!!o.refunded?.amount && <div class="soft small">{moneyText(o.refunded)} back</div>}</td>
            <td><Status of={o.status} /></td>
          </tr>
        ))} />
        <More list={list} what="orders" />
      </div>
    </div>
  );
}
