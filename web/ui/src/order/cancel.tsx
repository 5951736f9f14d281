import { useSignal } from '@preact/signals';
import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { type CancelQuote, type Event, type Order, cancelOrder, cancelTickets, quoteCancel } from '../api';
import { now } from '../clock';
import { moneyText } from '../money';
import { Notice, dateText, newKey, plural, problemText, sentence } from '../page';

/** Until when paid orders of the event can be cancelled; null if they cannot be. */
export const cancelUntil = (e: Pick<Event, 'cancellation' | 'starts_at'>): number | null =>
  (e.cancellation ? Date.parse(e.starts_at) - e.cancellation.until_hours * 3_600_000 : null);

/** A ticket as people name it. */
export const place = (t: { section: string; row: string; seat: string }): string => [t.section, t.row && `row ${t.row}`, t.seat && `seat ${t.seat}`].filter(Boolean).join(', ');

/**
 * Gives an order up, or tickets of it: which, what comes back for them in the server's
 * numbers, whether that is meant. Nothing at all where it cannot be done.
 */
export function GiveUp({ o, event, token, done }: { o: Order; event: Event | null; token: string | null; done: (o: Order) => void }): VNode | null {
  const step = useSignal<'closed' | 'choose' | 'sure' | 'done'>('closed'), busy = useSignal(false), failure = useSignal('');
  const quote = useSignal<CancelQuote | null>(null), chosen = useSignal<string[]>([]), sum = useSignal<CancelQuote | null>(null);
  const h = useRef<HTMLHeadingElement>(null), opener = useRef<HTMLButtonElement>(null), shut = useRef(false), key = useRef('');
  const at = step.value;
  useEffect(() => {
    if (at !== 'closed') h.current?.focus();
    else if (shut.current) opener.current?.focus();
  }, [at]);

  const ask = (what: () => Promise<void>): void => {
    busy.value = true;
    failure.value = '';
    what().catch((e: unknown) => { failure.value = problemText(e); }).finally(() => { busy.value = false; });
  };
  const open = o.status === 'awaiting_payment' || o.status === 'declined';
  const until = event && cancelUntil(event), sold = ['paid', 'fulfilled', 'partially_refunded'].includes(o.status);
  const outcome = useRef('');
  if (at === 'done') {
    return (
      <section class="card panel stack giveup noprint">
        <h2 ref={h} tabIndex={-1}>{outcome.current}</h2>
        <p class="row"><button onClick={() => { shut.current = false; step.value = 'closed'; }}>Close</button></p>
      </section>
    );
  }
  if (!open && !(sold && until !== null)) return null;
  const over = !open && until! < now();

  const begin = (): void => {
    shut.current = true;
    key.current = newKey();
    if (open) {
      step.value = 'sure';
      return;
    }
    ask(async () => {
      const q = await quoteCancel(o.order, [], token), can = q.tickets.filter((t) => t.allowed);
      quote.value = q;
      chosen.value = can.length === 1 ? [can[0]!.ticket] : [];
      step.value = 'choose';
    });
  };
  const finish = (): void => ask(async () => {
    const changed = open ? await cancelOrder(o.order, token) : await cancelTickets(o.order, chosen.value, key.current, token);
    const back = sum.value?.back;
    outcome.current = open ? 'The order is cancelled.' : `${plural(chosen.value.length, 'ticket is', 'tickets are')} given back${back?.amount ? `, and ${moneyText(back)} is on the way to you` : ''}.`;
    step.value = 'done';
    if (changed) done(changed);
  });

  if (at === 'closed') {
    return (
      <section class="card panel stack giveup noprint">
        <h2>{open ? 'Do you not want these tickets any more?' : 'Cannot come?'}</h2>
        {open ? <p>Nothing has been charged. If you cancel, the seats go back on sale at once.</p>
          : over ? <p>Tickets could be given back until {dateText(new Date(until!).toISOString(), { dateStyle: 'full', timeStyle: 'short', timeZone: event!.timezone })}.</p>
            : <p>You can give tickets back until <strong>{dateText(new Date(until!).toISOString(), { dateStyle: 'full', timeStyle: 'short', timeZone: event!.timezone })}</strong>{event!.cancellation!.keep_fees ? '; fees are not given back' : ''}. You can also pass them on.</p>}
        {failure.value && <Notice tone="bad" alert>{failure.value}</Notice>}
        {!over && <p class="row"><button ref={opener} disabled={busy.value} onClick={begin}>{open ? 'Cancel the order' : 'Give tickets back'}</button></p>}
      </section>
    );
  }
  const keep = <button type="button" disabled={busy.value} onClick={() => { failure.value = ''; step.value = 'closed'; }}>{open ? 'Keep the order' : 'Keep the tickets'}</button>;
  if (at === 'choose') {
    const q = quote.value!;
    return (
      <form class="card panel stack giveup noprint" onSubmit={(e) => {
        e.preventDefault();
        if (!chosen.value.length) {
          failure.value = 'Please choose at least one ticket.';
          return;
        }
        ask(async () => {
          const s = await quoteCancel(o.order, chosen.value, token);
          if (!s.allowed) throw new Error(sentence(s.why));
          sum.value = s;
          step.value = 'sure';
        });
      }}>
        <h2 ref={h} tabIndex={-1}>Which tickets do you give back?</h2>
        {q.until && <p class="soft">Possible until {dateText(q.until, { dateStyle: 'full', timeStyle: 'short', timeZone: event?.timezone })}. {q.keep_fees ? 'Fees, and the tax on them, are not given back.' : 'Fees are given back, too.'}</p>}
        <fieldset>
          <legend class="soft small">What comes back for each</legend>
          {q.tickets.map((t) => {
            const item = o.items.find((i) => i.ticket === t.ticket);
            return (
              <label key={t.ticket} class="choice">
                <input type="checkbox" disabled={!t.allowed} checked={chosen.value.includes(t.ticket)} onChange={(e) => {
                  failure.value = '';
                  chosen.value = e.currentTarget.checked ? [...chosen.value, t.ticket] : chosen.value.filter((x) => x !== t.ticket);
                }} />
                <span>{item ? place(item) : t.ticket}{t.allowed ? <strong class="num">{moneyText(t.back)}</strong> : <span class="soft small">{sentence(t.why)}</span>}</span>
              </label>
            );
          })}
        </fieldset>
        {failure.value && <Notice tone="bad" alert>{failure.value}</Notice>}
        <p class="row"><button class="primary" disabled={busy.value || !q.tickets.some((t) => t.allowed)}>Continue</button>{keep}</p>
      </form>
    );
  }
  return (
    <section class="card panel stack giveup noprint">
      <h2 ref={h} tabIndex={-1}>{open ? 'Cancel the order?' : `Give ${plural(chosen.value.length, 'ticket')} back?`}</h2>
      {open ? <p>The seats go back on sale at once, and somebody else may take them.</p> : (
        <>
          <ul>{o.items.filter((i) => chosen.value.includes(i.ticket)).map((i) => <li key={i.ticket}>{place(i)}</li>)}</ul>
          <p><strong class="big">{moneyText(sum.value!.back)}</strong> goes back the way you paid{sum.value!.keep_fees ? ', without the fees' : ''}. The codes stop working at once and the seats go back on sale. This cannot be undone.</p>
        </>
      )}
      {failure.value && <Notice tone="bad" alert>{failure.value}</Notice>}
      <p class="row"><button class="danger" disabled={busy.value} onClick={finish}>{open ? 'Yes, cancel it' : 'Yes, give back'}</button>{keep}</p>
    </section>
  );
}
