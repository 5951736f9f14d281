import { useSignal } from '@preact/signals';
import type { VNode } from 'preact';
import { useEffect } from 'preact/hooks';
import { moneyText } from '../money';
import { number, problemText } from '../page';
import { handOver, timeOf } from './act';
import { type MoneyState, file, paymentStatuses, reconciliation } from './calls';
import { Payments } from './order';
import { EventField, LookButton, Status, Table, Title, Trouble, event, fail, openOrder, when, words } from './parts';

const OrderLink = ({ id }: { id: string }): VNode => <button class="link" onClick={() => openOrder(id)}><code>{id}</code></button>;

/** How the money stands: what is stuck, what differs from the gateway's books, and the files for bookkeeping. */
export default function Money(): VNode {
  const m = useSignal<MoneyState | null>(null), at = useSignal(''), failed = useSignal('');
  const read = async (): Promise<void> => {
    try {
      m.value = await reconciliation();
      at.value = new Date().toISOString();
      failed.value = '';
    } catch (e) {
      failed.value = problemText(e);
    }
  };
  useEffect(() => void read(), []);
  const s = m.value, calm = s && !s.stuck_payments.length && !s.stuck_refunds.length && !s.differences.length;
  return (
    <div class="stack">
      <div class="row between"><Title>Money</Title><span class="row">{at.value && <span class="soft small">Read {when(at.value)}</span>}<button onClick={() => void read()}>Read again</button></span></div>
      {failed.value && <div class="notice bad" role="alert">How the money stands could not be read. {failed.value}</div>}
      {s && (
        <>
          <h2 class="vh">Payments by state</h2>
          <dl class="tiles states">
            {paymentStatuses.map((k) => <div class="card" key={k}><dt>{words(k)}</dt><dd>{number(s.payments[k] ?? 0)}</dd></div>)}
            <div class="card"><dt>Refunds under way</dt><dd>{number(s.refunds_pending)}</dd></div>
            <div class="card"><dt>Not compared yet</dt><dd>{number(s.uncompared)}</dd></div>
          </dl>
          {calm && <p class="notice good">Nothing is stuck, and the gateway’s books say the same as ours.</p>}
          {!!s.stuck_payments.length && <section class="card panel stack" aria-labelledby="stuck"><h2 id="stuck">Stuck payments</h2><Payments list={s.stuck_payments} done={read} of={(o) => <OrderLink id={o} />} /></section>}
          {!!s.stuck_refunds.length && (
            <section class="card panel stack" aria-labelledby="stuck-refunds">
              <h2 id="stuck-refunds">Stuck refunds</h2>
              <Table name="Stuck refunds" empty="" heads={['Order', 'Amount', 'State', 'Since', '']} rows={s.stuck_refunds.map((r) => (
                <tr key={r.refund}>
                  <td><OrderLink id={r.order} />{r.reason && <div class="soft small">{r.reason}</div>}</td><td>{moneyText(r.amount)}</td><td><Status of={r.status} /><Trouble of={r} /></td>
                  <td>{when(r.created_at)}</td><td class="end"><LookButton payment={r.payment} done={read} /></td>
                </tr>
              ))} />
            </section>
          )}
          {!!s.differences.length && (
            <section class="card panel stack" aria-labelledby="differences">
              <h2 id="differences">Differences with the gateway’s books</h2>
              <Table name="Differences" empty="" heads={['When', 'Order', 'We said', 'The gateway says', 'What was done']} rows={s.differences.map((x, i) => (
                <tr key={i}><td>{when(x.at)}</td><td><OrderLink id={x.order} /></td><td>{words(x.ours)}</td><td>{words(x.theirs)}</td><td>{x.action.startsWith('look into it') ? <strong class="bad-text">{x.action}</strong> : x.action}</td></tr>
              ))} />
            </section>
          )}
        </>
      )}
      <Exports />
    </div>
  );
}

const tables = { orders: 'Orders', tickets: 'Tickets of paid orders', payouts: 'Payouts, a row a day' } as const;

function Exports(): VNode {
  const table = useSignal<keyof typeof tables>('orders'), from = useSignal(''), to = useSignal(''), said = useSignal(''), busy = useSignal(false), tried = useSignal(false);
  const wrong = tried.value && from.value && to.value && from.value >= to.value ? '“Before” must be later than “From”.' : '';
  const run = async (): Promise<void> => {
    tried.value = true;
    if (busy.value || (from.value && to.value && from.value >= to.value)) return;
    busy.value = true;
    said.value = 'The file is being made …';
    try {
      const name = `${table.value}.csv`, blob = await file(`exports/${name}`, { event: event.value, from: timeOf(from.value) ?? '', to: timeOf(to.value) ?? '' });
      handOver(blob, name);
      said.value = `${name} is downloaded: ${number(Math.ceil(blob.size / 1024))} KB.`;
    } catch (e) {
      said.value = '';
      fail(e);
    }
    busy.value = false;
  };
  return (
    <form class="card panel stack" noValidate aria-labelledby="exports" onSubmit={(e) => {
      e.preventDefault();
      void run();
    }}>
      <h2 id="exports">Export for bookkeeping</h2>
      <div class="throttle wide-fields">
        <label class="field">Table<select value={table.value} onChange={(e) => { table.value = e.currentTarget.value as keyof typeof tables; }}>{Object.entries(tables).map(([k, n]) => <option key={k} value={k}>{n}</option>)}</select></label>
        <EventField all />
        <label class="field">From<input type="datetime-local" aria-invalid={!!wrong} aria-describedby={wrong ? 'exports-wrong' : undefined} value={from.value} onInput={(e) => { from.value = e.currentTarget.value; }} /></label>
        <label class="field">Before<input type="datetime-local" aria-invalid={!!wrong} aria-describedby={wrong ? 'exports-wrong' : undefined} value={to.value} onInput={(e) => { to.value = e.currentTarget.value; }} /></label>
      </div>
      <p class="soft small">CSV, amounts in minor units (cents). Times in your own zone; empty: all there is. Each export stands in the audit log.</p>
      {wrong && <p id="exports-wrong" class="notice bad" role="alert">{wrong}</p>}
      <div class="row"><button aria-disabled={busy.value}>Download as CSV</button><span role="status">{said.value}</span></div>
    </form>
  );
}
