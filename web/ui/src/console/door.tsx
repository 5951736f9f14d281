import { useSignal } from '@preact/signals';
import type { ComponentChildren, VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { type AdminRoom, type RoomAction, type RoomActionBody, type Throttle, patchRoom, roomAction } from '../api';
import { Notice, dateText, number, plural } from '../page';
import { act, changes } from './act';
import { effectOf, minutesText } from './effect';
import * as live from './live';

type Question = 'pause' | 'drain' | 'close' | 'draw' | 'bypass';

/** A question in front of everything else, while `open`; escape and Cancel take it back. */
export function Dialog({ open, title, children, go, danger, onGo, onCancel }: {
  open: boolean; title: string; children: ComponentChildren; go: string; danger?: boolean; onGo: () => void; onCancel: () => void;
}): VNode {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (open) dialog.current?.showModal();
    else dialog.current?.close();
  }, [open]);
  return (
    <dialog ref={dialog} aria-labelledby="asked" onClose={onCancel}>
      {open && (
        <form class="stack" method="dialog" onSubmit={(e) => {
          e.preventDefault();
          onGo();
        }}>
          <h2 id="asked">{title}</h2>
          {children}
          <div class="row"><button class={danger ? 'danger' : 'primary'}>{go}</button><button type="button" onClick={onCancel}>Cancel</button></div>
        </form>
      )}
    </dialog>
  );
}

/** What can be done now in the room's state, the way to stop first; each asks before it does what cannot be undone. */
export function Actions({ r }: { r: AdminRoom }): VNode {
  const asking = useSignal<Question | null>(null), words = useSignal(''), value = useSignal(''), count = useSignal('');
  const run = (action: RoomAction, done: string, body: RoomActionBody = {}): void => {
    asking.value = null;
    void act(done, () => roomAction(live.token.value, r.event, action, body));
  };
  const ask = (q: Question) => (): void => {
    words.value = q === 'pause' ? r.message ?? '' : '';
    value.value = '';
    asking.value = q;
  };
  const bypass = (on: boolean): void => {
    asking.value = null;
    void act(on ? 'Everybody walks in now, without waiting.' : 'People wait in line again.', () => patchRoom(live.token.value, r.event, { bypass: on }), () => bypass(!on));
  };
  const before = r.state === 'scheduled' || r.state === 'lobby';
  const awaits = r.draw?.status === 'frozen' || (before && r.order === 'draw');
  const source = r.draw?.public_source ?? r.public_source;
  const text = words.value.trim(), message = text ? { message: text } : {};
  const q = asking.value, cancel = (): void => { asking.value = null; };
  const say = (label: string, required?: boolean): VNode => (
    <label class="field">{label}<textarea maxLength={500} required={required} value={words.value} onInput={(e) => { words.value = e.currentTarget.value; }} /></label>
  );
  return (
    <section class="card panel stack" aria-label="The door">
      <div class="row">
        {r.state === 'open' && <button class="primary" onClick={ask('pause')}>Pause …</button>}
        {r.state === 'paused' && <button class="primary" onClick={() => run('resume', 'The line moves again.')}>Resume</button>}
        {awaits && <button class="primary" onClick={ask('draw')}>{before ? (source ? 'Fix the list and open …' : 'Draw and open …') : 'Enter the public value …'}</button>}
        {(before ? !awaits : r.state === 'closed') && <button class="primary" onClick={() => run('open', 'The room is open.')}>{r.state === 'closed' ? 'Open again' : 'Open now'}</button>}
        {r.state === 'scheduled' && <button onClick={() => run('lobby', 'The waiting room is open. Nobody is let in yet.')}>Open the waiting room</button>}
        {(r.state === 'open' || r.state === 'paused' || r.state === 'draining') && (
          <form class="row admit" onSubmit={(e) => {
            e.preventDefault();
            const n = Number(count.value);
            run('admit', `Up to ${plural(n, 'person is', 'people are')} let in now; the rate makes up for it afterwards.`, { count: n });
            count.value = '';
          }}>
            <label>Let in now <input type="number" inputMode="numeric" required min={1} max={10_000} step={1} value={count.value} onInput={(e) => { count.value = e.currentTarget.value; }} /></label>
            <button>Let in</button>
          </form>
        )}
        <span class="row ends">
          {(r.state === 'open' || r.state === 'paused') && <button onClick={ask('drain')}>Drain …</button>}
          {r.bypass !== undefined && !r.bypass && <button onClick={ask('bypass')}>Bypass …</button>}
          {r.state !== 'closed' && <button class="danger" onClick={ask('close')}>Close …</button>}
        </span>
      </div>
      {r.bypass && <Notice tone="bad" alert><span class="row between">The room is bypassed: everybody walks in without waiting, and no limit holds.<button onClick={() => bypass(false)}>End the bypass</button></span></Notice>}
      {r.state === 'draining' && <p class="small soft">{r.cutoff ? `Places up to ${number(r.cutoff)} are still let in` : 'Everybody in line is still let in'}; nobody new can join. Then the room closes.</p>}
      {r.draw?.status === 'frozen' && <p class="small soft">The list of {number(r.draw.n ?? 0)} people is fixed and published. The draw waits for the public value{r.draw.public_source && `: ${r.draw.public_source}`}.</p>}

      <Dialog open={q === 'pause'} title="Pause the line?" go="Pause" onCancel={cancel} onGo={() => run('pause', 'The line is paused. Everyone keeps their place.', { message: text })}>
        {say('What waiting people read')}
      </Dialog>
      <Dialog open={q === 'drain'} title="Let in those in line, then close?" go="Drain" onCancel={cancel}
        onGo={() => run('drain', 'The room drains: nobody new can join.', { ...(value.value && { cutoff: Number(value.value) }), ...message })}>
        <p>Nobody new can join. {plural(r.waiting, 'person', 'people')} in line are let in as before, and then the room closes.</p>
        <label class="field">Last place that is let in<input type="number" inputMode="numeric" min={1} step={1} value={value.value} onInput={(e) => { value.value = e.currentTarget.value; }} /><small>Empty: everybody who is in line.</small></label>
        {say('What waiting people read')}
      </Dialog>
      <Dialog open={q === 'close'} title={`Close the room of ${r.name}?`} go="Close the room" danger onCancel={cancel}
        onGo={() => run('close', 'The room is closed.', { ...(value.value.trim() && { reason: value.value.trim() }), ...message })}>
        <p>{plural(r.waiting, 'person', 'people')} waiting will be told that the sale has ended, and nobody else gets in.</p>
        <label class="field">Reason, for the audit log<input maxLength={100} value={value.value} onInput={(e) => { value.value = e.currentTarget.value; }} /></label>
        {say('What they read besides')}
      </Dialog>
      <Dialog open={q === 'draw'} title={before ? 'Fix the list and open?' : 'Draw with this public value?'} go={before && source ? 'Open' : 'Draw'} onCancel={cancel}
        onGo={() => run('draw', before && source ? 'The list is fixed and published. The draw waits for the public value.' : 'The places are drawn.', before ? {} : { public_value: value.value.trim() })}>
        {before
          ? <p>The list of those in the waiting room{r.state === 'lobby' && ` (${number(r.waiting)})`} is fixed and published{source ? `. The draw then waits for the public value you announced: ${source}.` : ', and everybody gets a place.'} This cannot be undone.</p>
          : <label class="field">Public value<input maxLength={300} required value={value.value} onInput={(e) => { value.value = e.currentTarget.value; }} /><small>As announced: {source}. Exactly as published; it is taken once.</small></label>}
      </Dialog>
      <Dialog open={q === 'bypass'} title={`Let everybody past the line of ${r.name}?`} go="Bypass the room" danger onCancel={cancel} onGo={() => bypass(true)}>
        <p>Whoever comes walks straight into the shop. Rate and cap do not hold, and the shop takes whatever arrives.</p>
      </Dialog>
    </section>
  );
}

/** The message of the room, for people in line. */
export function Words({ r }: { r: AdminRoom }): VNode {
  const draft = useSignal<string | null>(null), text = draft.value ?? r.message ?? '';
  const say = (words: string): void => {
    void act(words ? 'Everyone waiting reads your message now.' : 'The message is gone.', () => roomAction(live.token.value, r.event, 'message', { message: words }))
      .then((ok) => { if (ok) draft.value = null; });
  };
  return (
    <form class="card panel stack" onSubmit={(e) => {
      e.preventDefault();
      say(text.trim());
    }}>
      <h2>Message</h2>
      <label class="field">What people in line read<textarea maxLength={500} value={text} onInput={(e) => { draft.value = e.currentTarget.value; }} /></label>
      {r.message ? <p class="small soft">Shown now: “{r.message}”</p> : <p class="small soft">Nothing is shown now.</p>}
      <div class="row">
        <button>Show it</button>
        {r.message && <button type="button" class="quiet" onClick={() => say('')}>Remove it</button>}
      </div>
    </form>
  );
}

const throttleFields: [keyof Throttle, string, number, number][] = [
  ['rate_per_minute', 'Let in per minute', 0, 1_000_000],
  ['burst', 'Most at once', 1, 100_000],
  ['max_shoppers', 'Most shoppers', 0, 10_000_000],
  ['lease_s', 'Time to shop (s)', 30, 86_400],
  ['claim_window_s', 'Time to enter (s)', 5, 3_600],
  ['grace_s', 'Second chance (s)', 0, 86_400],
];

export function ThrottleForm({ r }: { r: AdminRoom }): VNode {
  const draft = useSignal<Throttle>({ ...r.throttle }), dirty = useSignal(false);
  const t = dirty.value ? draft.value : r.throttle;
  const fields = throttleFields.filter(([k]) => r.throttle[k] !== undefined);
  const now = effectOf(r, r.throttle), next = effectOf(r, t);
  const bad = (k: keyof Throttle, min: number, max: number): boolean => !Number.isInteger(t[k]) || t[k]! < min || t[k]! > max;
  const wrong = fields.some(([k, , min, max]) => bad(k, min, max));
  const drain = (m: number | null): string => (m === null ? 'never' : r.waiting ? minutesText(m) : 'nobody is waiting');
  const again = (x: Throttle): string => (x.grace_s ? `to those back within ${minutesText(x.grace_s / 60)}` : 'never');
  const apply = (to: Throttle, from: Throttle, done: string): void => {
    void act(done, () => patchRoom(live.token.value, r.event, changes(to, from)), () => apply(from, to, 'The earlier throttle is back.')).then((ok) => { if (ok) dirty.value = false; });
  };
  const rate = r.effective_rate_per_minute;
  return (
    <form class="card panel stack" noValidate onSubmit={(e) => { e.preventDefault(); if (!wrong && dirty.value) apply({ ...t }, { ...r.throttle }, 'The new throttle applies.'); }}>
      <h2>Throttle</h2>
      <div class="throttle">
        {fields.map(([k, name, min, max]) => (
          <label class="field" key={k}>{name}
            <input type="number" inputMode="numeric" min={min} max={max} step={1} value={Number.isNaN(t[k]) ? '' : t[k]} aria-invalid={bad(k, min, max)}
              onInput={(e) => {
                draft.value = { ...(dirty.value ? draft.value : r.throttle), [k]: e.currentTarget.valueAsNumber };
                dirty.value = true;
              }} />
          </label>
        ))}
      </div>
      {wrong ? <Notice tone="bad">Some numbers are out of range.</Notice> : (
        <table>
          <caption class="vh">Effect of the throttle</caption>
          <thead><tr><td /><th scope="col">Now</th>{dirty.value && <th scope="col">After applying</th>}</tr></thead>
          <tbody>
            <tr><th scope="row">The line is through in</th><td>{drain(now.drainMinutes)}</td>{dirty.value && <td><strong>{drain(next.drainMinutes)}</strong></td>}</tr>
            <tr><th scope="row">People shopping, about</th><td>{number(now.shoppers)}</td>{dirty.value && <td><strong>{number(next.shoppers)}</strong></td>}</tr>
            <tr><th scope="row">Held back by</th><td>{now.limit === 'cap' ? 'the cap on shoppers' : 'the rate'}</td>{dirty.value && <td><strong>{next.limit === 'cap' ? 'the cap on shoppers' : 'the rate'}</strong></td>}</tr>
            {r.throttle.grace_s !== undefined && <tr><th scope="row">A missed turn comes again</th><td>{again(r.throttle)}</td>{dirty.value && <td><strong>{again(t)}</strong></td>}</tr>}
          </tbody>
        </table>
      )}
      {rate !== undefined && rate < r.throttle.rate_per_minute && r.autopilot?.enabled && <p class="small soft">The autopilot holds the rate at {number(rate)} a minute since {dateText(r.autopilot.changed_at, { timeStyle: 'medium' })}: {r.autopilot.reason}</p>}
      {(r.state !== 'open' || r.reason) && <p class="small soft">The line stands still now: the numbers count from when it moves again.</p>}
      <div class="row">
        <button class="primary" disabled={!dirty.value || wrong}>Apply</button>
        {dirty.value && <button type="button" class="quiet" onClick={() => { dirty.value = false; }}>Discard</button>}
      </div>
    </form>
  );
}
