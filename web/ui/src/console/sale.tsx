import { useSignal } from '@preact/signals';
import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { type Event, Problem } from '../api';
import { moneyText } from '../money';
import { Notice, number, plural, problemText } from '../page';
import { act, download } from './act';
import { Ask } from './ask';
import { type Cancellation, type Promo, cancelEvent, cancellation, listPromos, makePromos, patchPromo } from './calls';
import { EventField, More, Status, Table, Title, event, events, readEvents, refocus, useList, when } from './parts';
import { type PromoChange, type PromoForm, changeProblems, emptyPromo, promoChange, promoPatch, promoProblems, promoRequest } from './promo';

/** What concerns the sale of one event as a whole: its promo codes, and calling it off. */
export default function Sale(): VNode {
  const e = events.value?.find((x) => x.id === event.value);
  return (
    <div class="stack">
      <Title>Event</Title>
      <div class="card panel find"><EventField />{e && <span class="row"><Status of={e.status} /><span class="soft">{e.venue.name}, {e.venue.city}, {when(e.starts_at)}</span></span>}</div>
      {e && <Promos key={`p${e.id}`} e={e} />}
      {e && <Cancel key={`c${e.id}`} e={e} />}
    </div>
  );
}

const currencyOf = (e: Event): string => e.fees?.per_ticket.currency ?? e.tiers[0]?.price.currency ?? 'EUR';
const offText = (p: Promo): string => (p.amount ? moneyText(p.amount) : `${p.percent} %`);

function Promos({ e }: { e: Event }): VNode {
  const code = useSignal(''), changing = useSignal<Promo | null>(null);
  const list = useList((cursor) => listPromos(e.id, { code: code.value.trim(), limit: 50, cursor }).then((r) => [r.promos, r.next_cursor]));
  useEffect(() => void list.load(), []);
  const turn = (p: Promo): void => {
    void act(p.active ? `${p.code} is switched off: nobody new can use it.` : `${p.code} can be used again.`, () => patchPromo(e.id, p.id, { active: !p.active })).then(() => list.load());
  };
  return (
    <section class="card panel stack" aria-labelledby="promos">
      <h2 id="promos">Promo codes</h2>
      <form class="row" role="search" onSubmit={(x) => {
        x.preventDefault();
        void list.load();
      }}>
        <label class="field grow">Find a code<input type="search" maxLength={64} autocomplete="off" spellcheck={false} value={code.value} onInput={(x) => { code.value = x.currentTarget.value; }} /></label><button>Find</button>
      </form>
      <Table name="Promo codes" empty={code.value.trim() ? 'The event has no such code.' : 'No promo codes yet.'} heads={['Code', 'Off', 'Used', 'Good', 'Note', 'On', '']} rows={list.items && list.items.map((p) => (
        <tr key={p.id}>
          <th scope="row"><code>{p.code}</code></th><td>{offText(p)}</td>
          <td>{number(p.used)}{p.max_uses !== null && ` of ${number(p.max_uses)}`}{p.per_buyer !== null && <div class="soft small">{number(p.per_buyer)} each</div>}</td>
          <td class="small">{p.starts_at || p.ends_at ? <>{p.starts_at && <div>from {when(p.starts_at)}</div>}{p.ends_at && <div>until {when(p.ends_at)}</div>}</> : 'always'}</td>
          <td class="small">{p.note}</td>
          <td><button role="switch" aria-checked={p.active} aria-label={`Code ${p.code}`} class="switch" onClick={() => turn(p)}><span />{p.active ? 'On' : 'Off'}</button></td>
          <td class="end"><button aria-label={`Change ${p.code} …`} onClick={() => { changing.value = p; }}>Change …</button></td>
        </tr>
      ))} />
      <More list={list} what="codes" />
      <MakePromos e={e} done={() => void list.load()} />
      {changing.value && <ChangePromo key={changing.value.id} e={e} p={changing.value} done={(ok) => {
        changing.value = null;
        if (ok) void list.load().then(refocus);
      }} />}
    </section>
  );
}

/** Other limits, another time or another note for a code. What it takes off stays. */
function ChangePromo({ e, p, done }: { e: Event; p: Promo; done: (ok: boolean) => void }): VNode {
  const f = useSignal(promoChange(p)), wrong = changeProblems(p, f.value), patch = promoPatch(p, f.value);
  const field = (k: keyof PromoChange, name: string, more: object = {}, hint = ''): VNode => (
    <label class="field">{name}<input autocomplete="off" {...more} aria-invalid={!!wrong[k]} value={f.value[k]} onInput={(x) => { f.value = { ...f.value, [k]: x.currentTarget.value }; }} />{wrong[k] ? <small class="bad-text">{wrong[k]}</small> : hint && <small>{hint}</small>}</label>
  );
  return (
    <Ask title={`Change ${p.code}`} go="Change it" ready={!Object.keys(wrong).length && !!Object.keys(patch).length} done={done} run={async () => {
      await patchPromo(e.id, p.id, patch);
      return `${p.code} is changed.`;
    }}>
      <p>It takes {offText(p)} off, and was used by {plural(p.used, 'order')}. Orders that have used it keep their price.</p>
      {field('max', 'Orders in all', { inputMode: 'numeric' }, p.used ? `Empty: no limit. ${number(p.used)}: nobody new.` : 'Empty: no limit.')}
      {field('each', 'Orders of one buyer', { inputMode: 'numeric' }, 'Empty: no limit. All devices of an account are one buyer.')}
      {field('from', 'Good from', { type: 'datetime-local' }, 'Empty: from now on.')}
      {field('until', 'Good until', { type: 'datetime-local' }, 'Empty: without an end.')}
      {field('note', 'Note', { maxLength: 200 })}
    </Ask>
  );
}

function MakePromos({ e, done }: { e: Event; done: () => void }): VNode {
  const f = useSignal(emptyPromo), tried = useSignal(false), failed = useSignal(''), busy = useSignal(false), made = useSignal<Promo[]>([]), form = useRef<HTMLFormElement>(null);
  const t = f.value, currency = currencyOf(e), all = promoProblems(t, currency), wrong: typeof all = tried.value ? all : {};
  const set = (change: Partial<PromoForm>): void => { f.value = { ...f.value, ...change }; };
  const field = (k: Exclude<keyof PromoForm, 'kind' | 'off'>, name: string, more: object = {}, hint = ''): VNode => (
    <label class="field">{name}<input autocomplete="off" {...more} aria-invalid={!!wrong[k]} value={t[k]} onInput={(x) => set({ [k]: x.currentTarget.value })} />{wrong[k] ? <small class="bad-text">{wrong[k]}</small> : hint && <small>{hint}</small>}</label>
  );
  const run = async (): Promise<void> => {
    tried.value = true;
    failed.value = '';
    if (busy.value) return;
    if (Object.keys(all).length) {
      requestAnimationFrame(() => form.current?.querySelector<HTMLElement>('[aria-invalid=true]')?.focus());
      return;
    }
    busy.value = true;
    const ok = await act(t.kind === 'one' ? `The code ${t.code.trim().toUpperCase()} is made.` : `${plural(+t.quantity, 'code')} made.`, async () => {
      made.value = (await makePromos(e.id, promoRequest(t, currency))).promos;
    });
    busy.value = false;
    if (!ok) return;
    tried.value = false;
    set({ code: '', note: '' });
    done();
  };
  return (
    <details>
      <summary><h3>Make codes</h3></summary>
      <form ref={form} class="stack inset" noValidate onSubmit={(x) => {
        x.preventDefault();
        void run();
      }}>
        <fieldset class="row"><legend class="vh">Which codes</legend>
          <label class="choice"><input type="radio" name="kind" checked={t.kind === 'one'} onChange={() => set({ kind: 'one' })} />One that I name</label>
          <label class="choice"><input type="radio" name="kind" checked={t.kind === 'random'} onChange={() => set({ kind: 'random' })} />Random ones, good for one order each</label>
        </fieldset>
        <div class="throttle wide-fields">
          {t.kind === 'one' ? field('code', 'Code', { maxLength: 32, spellcheck: false }, 'Case does not matter.') : <>{field('quantity', 'How many codes', { inputMode: 'numeric' })}{field('prefix', 'Beginning of each', { maxLength: 16, spellcheck: false }, 'May stay empty.')}</>}
          <label class="field">Takes off<select value={t.off} onChange={(x) => set({ off: x.currentTarget.value as PromoForm['off'] })}><option value="percent">A percentage</option><option value="amount">An amount ({currency})</option></select></label>
          {field('value', t.off === 'percent' ? 'Percent' : `Amount in ${currency}`, { inputMode: 'decimal', maxLength: 16 })}
          {t.kind === 'one' && field('max', 'Orders in all', { inputMode: 'numeric' }, 'Empty: no limit.')}
          {t.kind === 'one' && field('each', 'Orders of one buyer', { inputMode: 'numeric' }, 'Empty: no limit.')}
          {field('from', 'Good from', { type: 'datetime-local' })}
          {field('until', 'Good until', { type: 'datetime-local' })}
          {field('note', 'Note', { maxLength: 200 })}
        </div>
        <div class="row"><button aria-disabled={busy.value}>{t.kind === 'one' ? 'Make the code' : `Make ${/^\d+$/.test(t.quantity) ? plural(+t.quantity, 'code') : 'codes'}`}</button></div>
        {made.value.length > 1 && (
          <>
            <label class="field">The codes<textarea class="codes" readOnly rows={5} value={made.value.map((p) => p.code).join('\n')} /></label>
            <div class="row"><button type="button" onClick={() => download(`${made.value.map((p) => p.code).join('\n')}\n`, `promo-codes-${e.id}.txt`, 'text/plain')}>Download as text</button></div>
          </>
        )}
      </form>
    </details>
  );
}

/** How often the progress of a cancellation is read. */
const pollMs = 2000;

function Cancel({ e }: { e: Event }): VNode {
  const done = useSignal<Cancellation | null>(null), asking = useSignal(false), failed = useSignal('');
  const name = useSignal(''), reason = useSignal(''), keepFees = useSignal(false);
  const off = e.status === 'cancelled' || !!done.value, over = !!done.value?.finished_at && !done.value.refunds_pending;
  useEffect(() => {
    if (!off || over) return;
    let gone = false, timer: ReturnType<typeof setTimeout> | undefined;
    const read = async (): Promise<void> => {
      try {
        const c = await cancellation(e.id);
        if (gone) return;
        done.value = c;
        failed.value = '';
      } catch (x) {
        if (gone) return;
        failed.value = x instanceof Problem && x.status === 404 ? '' : problemText(x);
        if (x instanceof Problem && x.status === 404) return; // cancelled by an edit: nothing is under way
      }
      timer = setTimeout(() => void read(), pollMs);
    };
    void read();
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [off, over]);
  const c = done.value, all = c ? c.orders_left + c.orders_cancelled + c.orders_refunded : 0, ended = c ? all - c.orders_left : 0;
  return (
    <section class="card panel stack" aria-labelledby="cancel">
      <h2 id="cancel">{off ? 'The event is cancelled' : 'Cancel the event'}</h2>
      {!off && (
        <>
          <p class="soft">Takes it off sale for good, closes its room, ends open orders, and gives everybody who paid their money back.</p>
          <div class="row"><button class="danger" onClick={() => { name.value = ''; asking.value = true; }}>Cancel the event …</button></div>
        </>
      )}
      {off && !c && !failed.value && <p class="soft">It is off sale.</p>}
      {failed.value && <Notice tone="bad">How far it is could not be read; it goes on by itself, and is asked again. {failed.value}</Notice>}
      {c && (
        <>
          <label class="field">Orders ended: {number(ended)} of {number(all)}<progress max={Math.max(1, all)} value={all ? ended : 1} /></label>
          <dl class="facts">
            <div><dt>Still to be ended</dt><dd>{number(c.orders_left)}</dd></div><div><dt>Paid, given back</dt><dd>{number(c.orders_refunded)}</dd></div>
            <div><dt>Not paid, ended</dt><dd>{number(c.orders_cancelled)}</dd></div><div><dt>Refunds under way</dt><dd>{number(c.refunds_pending)}</dd></div>
            <div><dt>Refunds done</dt><dd>{number(c.refunds_done)}</dd></div><div><dt>Money given back</dt><dd>{moneyText(c.given_back)}</dd></div>
          </dl>
          <p role="status">{over ? `All is done, since ${when(c.finished_at)}.` : 'It goes on by itself, whatever happens to this page.'}</p>
          {c.reason && <p class="soft small">Reason: {c.reason}{c.keep_fees && '. The fees stay.'}</p>}
        </>
      )}
      {asking.value && (
        <Ask title={`Cancel ${e.name}?`} go="Cancel the event" danger ready={name.value.trim() === e.name}
          run={async () => {
            done.value = await cancelEvent(e.id, { reason: reason.value.trim(), keep_fees: keepFees.value });
            return `${e.name} is cancelled. The money goes back by itself.`;
          }}
          done={(ok) => {
            asking.value = false;
            if (ok) void readEvents();
            refocus();
          }}>
          <p>{e.tickets ? `${plural(e.tickets.sold, 'ticket has', 'tickets have')} been sold. ` : ''}Everybody gets their money back, and no ticket opens the door any more. This cannot be undone.</p>
          <label class="field">Reason<textarea maxLength={500} value={reason.value} onInput={(x) => { reason.value = x.currentTarget.value; }} /></label>
          <label class="choice"><input type="checkbox" checked={keepFees.value} onChange={(x) => { keepFees.value = x.currentTarget.checked; }} />Keep the fees</label>
          <label class="field">Type the name of the event<input autocomplete="off" spellcheck={false} value={name.value} onInput={(x) => { name.value = x.currentTarget.value; }} /><small>Exactly: {e.name}</small></label>
        </Ask>
      )}
    </section>
  );
}
