import { type Signal, useSignal } from '@preact/signals';
import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { type Money, getPlan } from '../api';
import { moneyText } from '../money';
import { plural } from '../page';
import { Ask } from './ask';
import { type ExchangeBody, type FreeTicket, type OrderWithMoney, type RefundBody, changeOrder, freeTickets } from './calls';
import { keyOf, settled } from './keys';
import * as live from './live';
import { fail, seatOf, refocus } from './parts';
import { amountOf, keptOf, leftOf, refundSum, ticketSum } from './refund';

/** The order that is worked on. `asking` is true while a question about it is open; `read` reads it again. */
export interface Desk { o: OrderWithMoney; asking: Signal<boolean>; read: () => Promise<void> }

const actionOf = (o: OrderWithMoney, how: string, body: RefundBody | ExchangeBody): string => `${how} ${o.order} ${JSON.stringify(body)}`;

/** Changes the order once, however often that is tried. Where it fails, the order is read again: perhaps it was done all the same. */
async function change({ o, read }: Desk, how: 'refund' | 'exchange', body: RefundBody | ExchangeBody): Promise<Money> {
  const action = actionOf(o, how, body);
  try {
    const now = await changeOrder(o.order, how, body, keyOf(action));
    settled(action);
    return now.refunded ?? { ...o.total, amount: 0 };
  } catch (e) {
    await read();
    throw e;
  }
}

/** The question is gone. */
async function answered(d: Desk, ok: boolean): Promise<void> {
  if (ok) await d.read();
  d.asking.value = false;
  refocus();
}

type What = 'all' | 'tickets' | 'amount';

/** Gives money back: with all tickets, with some, or without any. The sum is named before it goes. */
export function RefundForm({ d }: { d: Desk }): VNode {
  const { o } = d;
  const kept = keptOf(o), currency = o.total.currency, left = leftOf(o);
  const what = useSignal<What>(kept.length ? 'all' : 'amount'), chosen = useSignal<string[]>([]), amount = useSignal(''), keepFees = useSignal(false), reason = useSignal(''), tried = useSignal(false);
  const asked = useSignal<{ body: RefundBody; sum: Money; names: string[] } | null>(null), form = useRef<HTMLFormElement>(null);
  const typed = amountOf(amount.value, currency), w = what.value;
  const tickets = w === 'tickets' ? kept.map((i) => i.ticket).filter((t) => chosen.value.includes(t)) : null;
  const sum = w === 'amount' ? { amount: typed ?? 0, currency } : refundSum(o, tickets, keepFees.value);
  const all = moneyText({ amount: left, currency });
  const wrong = w === 'tickets' && !tickets!.length ? 'Choose at least one ticket.'
    : w !== 'amount' ? ''
      : typed === null ? `Write an amount in ${currency}, such as ${moneyText({ amount: Math.min(left, 1250), currency })}, without its sign.`
        : typed < 1 || typed > left ? `The amount must be more than nothing, and at most ${all}, which is what is left of the order.` : '';
  const shown = tried.value ? wrong : '';
  const names = kept.filter((i) => w === 'all' || tickets?.includes(i.ticket)).map(seatOf);
  const ask = (): void => {
    tried.value = true;
    if (wrong) {
      requestAnimationFrame(() => form.current?.querySelector<HTMLElement>('[aria-invalid=true], [name=ticket]')?.focus());
      return;
    }
    const b: RefundBody = { ...(tickets && { tickets }), ...(w === 'amount' && { amount: typed! }), ...(w !== 'amount' && keepFees.value && { keep_fees: true }), ...(reason.value.trim() && { reason: reason.value.trim() }) };
    keyOf(actionOf(o, 'refund', b)); // before the click that sends it
    asked.value = { body: b, sum, names: w === 'amount' ? [] : names };
    d.asking.value = true;
  };
  const q = asked.value;
  const choice = (k: What, name: string): VNode => (
    <label class="choice"><input type="radio" name="what" checked={w === k} onChange={() => { what.value = k; tried.value = false; }} />{name}</label>
  );
  return (
    <form ref={form} class="card panel stack" noValidate aria-labelledby="refund" onSubmit={(e) => {
      e.preventDefault();
      ask();
    }}>
      <h2 id="refund">Refund</h2>
      <fieldset class="ticks">
        <legend class="vh">What is given back</legend>
        {!!kept.length && choice('all', kept.length === o.items.length ? 'Everything' : kept.length === 1 ? 'The ticket that is left' : `All ${kept.length} tickets that are left`)}
        {kept.length > 1 && choice('tickets', 'Some tickets')}
        {choice('amount', 'An amount; the tickets stay the buyer’s')}
      </fieldset>
      {w === 'tickets' && (
        <fieldset class="ticks" aria-describedby={shown ? 'refund-wrong' : undefined}>
          <legend>Tickets that are given back</legend>
          {kept.map((i) => (
            <label key={i.ticket} class="choice"><input type="checkbox" name="ticket" checked={chosen.value.includes(i.ticket)} onChange={(e) => { chosen.value = e.currentTarget.checked ? [...chosen.value, i.ticket] : chosen.value.filter((t) => t !== i.ticket); }} />{seatOf(i)}, {moneyText({ amount: ticketSum(o, i, keepFees.value), currency })}</label>
          ))}
        </fieldset>
      )}
      {w === 'amount' && <label class="field">Amount in {currency}<input inputMode="decimal" autocomplete="off" maxLength={16} aria-invalid={!!shown} aria-describedby={shown ? 'refund-wrong' : undefined} value={amount.value} onInput={(e) => { amount.value = e.currentTarget.value; }} /><small>At most {all}.</small></label>}
      {w !== 'amount' && !!o.price?.fees.amount && <label class="choice"><input type="checkbox" checked={keepFees.value} onChange={(e) => { keepFees.value = e.currentTarget.checked; }} />Keep the fees</label>}
      <label class="field">Reason<input maxLength={500} value={reason.value} onInput={(e) => { reason.value = e.currentTarget.value; }} /><small>For the records and the audit log.</small></label>
      {shown && <p id="refund-wrong" class="notice bad" role="alert">{shown}</p>}
      <div class="row"><button class="danger">Refund {wrong ? '' : moneyText(sum)} …</button></div>
      {q && (
        <Ask title={`Give ${moneyText(q.sum)} back?`} go={`Refund ${moneyText(q.sum)}`} danger
          run={async () => {
            const refunded = await change(d, 'refund', q.body);
            return `${moneyText(q.sum)} ${q.body.amount ? 'goes' : `for ${plural(q.names.length, 'ticket')} goes`} back. In all that is ${moneyText(refunded)} of ${moneyText(o.total)}.`;
          }}
          done={(ok) => {
            asked.value = null;
            if (ok) [what.value, chosen.value, amount.value, reason.value, keepFees.value, tried.value] = [kept.length > q.names.length ? 'all' : 'amount', [], '', '', false, false];
            void answered(d, ok);
          }}>
          <p>{o.buyer?.name} gets {moneyText(q.sum)} of {moneyText(o.total)} back{q.body.keep_fees ? '; the fees stay' : ''}.</p>
          {q.body.amount ? <p>The tickets stay good.</p> : <><p>These open the door no longer, and are for sale again at once:</p><ul class="small">{q.names.map((n, i) => <li key={i}>{n}</li>)}</ul></>}
          {q.body.reason && <p class="soft small">Reason: {q.body.reason}</p>}
        </Ask>
      )}
    </form>
  );
}

/** Swaps tickets of the order for others that nobody has. */
export function Exchange({ d }: { d: Desk }): VNode {
  const { o } = d, kept = keptOf(o), currency = o.total.currency;
  const sections = useSignal<{ id: string; name: string }[] | null>(null), section = useSignal(''), free = useSignal<FreeTicket[] | null>(null), cursor = useSignal<string | null>(null);
  // What each ticket is given back for: a free ticket, or null while none is chosen.
  const swaps = useSignal<Record<string, FreeTicket | null>>({}), reason = useSignal(''), tried = useSignal(false), turn = useRef(0);
  const asked = useSignal<{ body: ExchangeBody; pairs: [string, string][]; back: Money } | null>(null), form = useRef<HTMLFormElement>(null);
  const list = async (more = false): Promise<void> => {
    const mine = ++turn.current;
    try {
      const page = await freeTickets(o.event, section.value, (more && cursor.value) || undefined);
      if (mine !== turn.current) return;
      free.value = more ? [...(free.value ?? []), ...page.tickets] : page.tickets;
      cursor.value = page.next_cursor;
    } catch (e) {
      if (mine === turn.current) fail(e);
    }
  };
  const open = async (): Promise<void> => {
    try {
      sections.value ??= (await getPlan(o.event, live.token.value)).sections.map(({ id, name }) => ({ id, name }));
      section.value ||= sections.value.find((s) => s.name === kept[0]?.section)?.id ?? sections.value[0]?.id ?? '';
    } catch (e) {
      fail(e);
    }
  };
  useEffect(() => { if (section.value) void list(); }, [section.value]);
  const give = kept.filter((i) => i.ticket in swaps.value), to = give.map((i) => swaps.value[i.ticket]), taken = new Set(to.map((t) => t?.id));
  const less = give.reduce((n, i, k) => n + i.price.amount - (to[k]?.price.amount ?? 0), 0);
  const wrong = !give.length ? 'Choose the tickets that are given back.' : to.some((t) => !t) ? 'Choose another ticket for each that is given back.'
    : less < 0 ? `The others cost ${moneyText({ amount: -less, currency })} more. Choose some that are no dearer: an exchange takes no money.` : '';
  const shown = tried.value ? wrong : '';
  const q = asked.value;
  const ask = (): void => {
    tried.value = true;
    if (wrong) {
      requestAnimationFrame(() => form.current?.querySelector<HTMLElement>('[aria-invalid=true], input')?.focus());
      return;
    }
    const body: ExchangeBody = { tickets: give.map((i) => i.ticket), to: to.map((t) => t!.id), ...(reason.value.trim() && { reason: reason.value.trim() }) };
    keyOf(actionOf(o, 'exchange', body));
    asked.value = { body, pairs: give.map((i, k) => [seatOf(i), seatOf(to[k]!)]), back: { amount: less, currency } };
    d.asking.value = true;
  };
  return (
    <details class="card panel" onToggle={(e) => { if (e.currentTarget.open) void open(); }}>
      <summary><h2>Exchange tickets</h2></summary>
      <form ref={form} class="stack" noValidate onSubmit={(e) => {
        e.preventDefault();
        ask();
      }}>
        <p class="soft">For others of the event that nobody has, as many and no dearer. What they cost less goes back.</p>
        <fieldset class="ticks">
          <legend>Tickets that are given back</legend>
          {kept.map((i) => (
            <label key={i.ticket} class="choice"><input type="checkbox" checked={i.ticket in swaps.value} onChange={(e) => {
              const { [i.ticket]: was, ...rest } = swaps.value;
              swaps.value = e.currentTarget.checked ? { ...rest, [i.ticket]: was ?? null } : rest;
            }} />{seatOf(i)}, {moneyText(i.price)}</label>
          ))}
        </fieldset>
        {sections.value && <label class="field">Look for free tickets in<select value={section.value} onChange={(e) => { section.value = e.currentTarget.value; free.value = null; }}>{sections.value.map((s) => <option key={s.id} value={s.id}>{s.name}</option>)}</select>{free.value?.length === 0 && <small>Nothing is free here.</small>}</label>}
        {give.map((i) => {
          const mine = swaps.value[i.ticket];
          const options = [...(mine && !free.value?.some((t) => t.id === mine.id) ? [mine] : []), ...(free.value ?? []).filter((t) => t.id === mine?.id || !taken.has(t.id))];
          return (
            <label key={i.ticket} class="field">Instead of {seatOf(i)}
              <select aria-invalid={!!shown && (!mine || less < 0)} aria-describedby={shown ? 'exchange-wrong' : undefined} value={mine?.id ?? ''} onChange={(e) => { swaps.value = { ...swaps.value, [i.ticket]: options.find((t) => t.id === e.currentTarget.value) ?? null }; }}>
                <option value="">Choose a free ticket</option>
                {options.map((t) => <option key={t.id} value={t.id}>{seatOf(t)}{!t.seat && ` (${t.ordinal})`}, {moneyText(t.price)}</option>)}
              </select>
            </label>
          );
        })}
        {!!give.length && cursor.value && <p><button type="button" onClick={() => void list(true)}>List more free tickets</button></p>}
        <label class="field">Reason<input maxLength={500} value={reason.value} onInput={(e) => { reason.value = e.currentTarget.value; }} /></label>
        {shown && <p id="exchange-wrong" class="notice bad" role="alert">{shown}</p>}
        <div class="row"><button>Exchange {give.length ? plural(give.length, 'ticket') : 'tickets'} …</button></div>
      </form>
      {q && (
        <Ask title={`Exchange ${plural(q.pairs.length, 'ticket')}?`} go={`Exchange ${plural(q.pairs.length, 'ticket')}`}
          run={async () => {
            const refunded = await change(d, 'exchange', q.body);
            return `${plural(q.pairs.length, 'ticket')} exchanged. In all ${moneyText(refunded)} went back.`;
          }}
          done={(ok) => {
            asked.value = null;
            if (ok) {
              [swaps.value, reason.value, tried.value] = [{}, '', false];
              void list();
            }
            void answered(d, ok);
          }}>
          <ul>{q.pairs.map(([a, b], k) => <li key={k}><s>{a}</s> → <strong>{b}</strong></li>)}</ul>
          <p>{q.back.amount ? `${o.buyer?.name} gets ${moneyText(q.back)} back${o.price?.tax && !o.price.tax.included ? ', with the tax on it' : ''}.` : 'No money moves.'} The old codes open the door no longer.</p>
        </Ask>
      )}
    </details>
  );
}
