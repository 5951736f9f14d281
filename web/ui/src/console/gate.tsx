import { signal, useSignal } from '@preact/signals';
import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { notesText } from '../map/marks';
import { dateText, newKey, number, problemText } from '../page';
import { store } from '../shell';
import { act, handOver } from './act';
import { type Scanned, file, scan, scanList } from './calls';
import { EventField, Title, event, eventName, placeOf, seatOf } from './parts';
import { type Verdict, verdictOf } from './verdict';

/** One scan: asked, answered, or failed on the way. Its id makes a repeated one count once. */
interface Try { id: string; code: string; gate: string; event: string; manual: boolean; answer?: Scanned; failed?: string; at: number }

const gatePlace = 'onsale:gate', kept = 12;
const tries = signal<Try[]>([]);
const counts = signal({ in: 0, refused: 0 });
const moment = (t: string | number): string => dateText(new Date(t).toISOString(), Date.now() - +new Date(t) > 43_200_000 ? { dateStyle: 'medium', timeStyle: 'medium' } : { timeStyle: 'medium' });

function Shape({ of }: { of: Verdict['shape'] | 'none' }): VNode {
  return (
    <svg class="shape" viewBox="0 0 48 48" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="5" stroke-linecap="round" stroke-linejoin="round">
      {of === 'tick' && <><circle cx="24" cy="24" r="21" /><path d="m14 25 7 7 13-15" /></>}
      {of === 'triangle' && <><path d="M24 4 45 43H3Z" /><path d="M24 18v11M24 36v.5" /></>}
      {of === 'cross' && <><path d="M15 3h18l12 12v18L33 45H15L3 33V15Z" /><path d="m17 17 14 14M31 17 17 31" /></>}
      {of === 'none' && <path d="M4 15V4h11M33 4h11v11M44 33v11H33M15 44H4V33" />}
    </svg>
  );
}

/** Scans at the door: a field that a scanner types into, and what to do about each. */
export default function Gate(): VNode {
  const code = useSignal(''), gate = useSignal(store.get(gatePlace) ?? ''), field = useRef<HTMLInputElement>(null), whole = useSignal<{ in: number; all: number } | null>(null);
  const focus = (): void => field.current?.focus();
  useEffect(() => {
    focus();
    // A scanner types wherever the focus is: unless that is where people write or choose, the field takes it.
    const typed = (e: KeyboardEvent): void => {
      if (e.key.length === 1 && e.key !== ' ' && !e.ctrlKey && !e.metaKey && !e.altKey && !document.activeElement?.closest('input, select, textarea, dialog')) focus();
    };
    const back = (): void => { if (document.activeElement === document.body) focus(); };
    addEventListener('keydown', typed);
    addEventListener('focus', back);
    return () => {
      removeEventListener('keydown', typed);
      removeEventListener('focus', back);
    };
  }, []);
  const count = async (of: string): Promise<void> => {
    whole.value = null;
    if (!of) return;
    try {
      const { admissions } = await scanList(of), live = admissions.filter((a) => a.state === 'valid' || a.state === 'scanned');
      if (of === event.value) whole.value = { in: live.filter((a) => a.scanned_at).length, all: live.length };
    } catch { /* the scans go on without it */ }
  };
  useEffect(() => void count(event.value), [event.value]);
  const run = async (t: Try): Promise<void> => {
    const put = (x: Try): void => { tries.value = [x, ...tries.value.filter((y) => y.id !== t.id)].slice(0, kept); };
    put({ ...t, failed: undefined });
    focus();
    try {
      const answer = await scan({ code: t.code, gate: t.gate, event: t.event, id: t.id, manual: t.manual });
      put({ ...t, failed: undefined, answer });
      const ok = answer.result === 'admitted', c = counts.value;
      counts.value = { in: c.in + +ok, refused: c.refused + +!ok };
      if (ok && whole.value && t.event === event.value) whole.value = { ...whole.value, in: whole.value.in + 1 };
    } catch (e) {
      put({ ...t, failed: problemText(e) });
    }
  };
  const made = (c: string, manual = false): Try => ({ id: newKey(), code: c, gate: gate.value.trim(), event: event.value, manual, at: Date.now() });
  const download = (format: 'csv' | 'json'): void => {
    void act('The list is downloaded. It is of this moment: scans made later are not in it.', async () => handOver(await file(`events/${event.value}/scanlist`, { format }), `scanlist-${event.value}.${format}`));
  };
  const last = tries.value[0], v = last?.answer && verdictOf(last.answer, moment), ticket = last?.answer?.ticket, notes = ticket && notesText(ticket);
  return (
    <div class="stack gate">
      <Title>Door</Title>
      <form class="card panel" onSubmit={(e) => {
        e.preventDefault();
        const c = code.value.trim();
        if (!c) return;
        code.value = '';
        void run(made(c));
      }}>
        <div class="field"><label for="code">Code of the ticket</label>
          <span class="row scanrow"><input ref={field} id="code" aria-describedby="code-hint" class="codes grow" maxLength={256} autocomplete="off" autocapitalize="characters" spellcheck={false} enterkeyhint="go" value={code.value} onInput={(e) => { code.value = e.currentTarget.value; }} /><button class="primary">Check</button></span>
          <small id="code-hint">Scan the QR code, or type the code on the ticket and press Enter. {event.value && `For ${eventName(event.value)}`}{gate.value.trim() && `, gate ${gate.value.trim()}`}{event.value && '.'}</small>
        </div>
      </form>
      <div class={`card verdict ${v?.tone ?? (last?.failed ? 'warn' : '')}`}>
        <Shape of={v?.shape ?? (last?.failed ? 'triangle' : 'none')} />
        <div class="stack tight">
          <div role="status" aria-live="assertive" aria-atomic="true">
            <p class="verdict-word">{v?.word ?? (last ? (last.failed ? 'Not checked' : 'Checking …') : 'Ready')}</p>
            {ticket && <p><strong>{placeOf(ticket)}</strong>, {ticket.tier} · {ticket.holder}</p>}
            {notes && <p class="notes">{notes}</p>}
            {v?.text && <p>{v.text}</p>}
            {last?.failed && <p>{last.failed}</p>}
          </div>
          {last?.failed && <div class="row"><button onClick={() => void run(last)}>Check it again</button></div>}
          {last?.answer?.result === 'rotating_required' && <div class="row"><button onClick={() => void run(made(last.code, true))}>I have looked: let them in</button></div>}
        </div>
      </div>
      <dl class="tiles">
        <div class="card"><dt>Let in here</dt><dd>{number(counts.value.in)}</dd></div>
        <div class="card"><dt>Turned away here</dt><dd>{number(counts.value.refused)}</dd></div>
        {whole.value && <div class="card"><dt>Inside, all gates</dt><dd>{number(whole.value.in)} of {number(whole.value.all)}</dd></div>}
      </dl>
      <div class="row"><button disabled={!event.value} onClick={() => void count(event.value)}>Count again</button><button disabled={!event.value} onClick={() => download('csv')}>Scan list as CSV</button><button disabled={!event.value} onClick={() => download('json')}>Scan list for offline scanners (JSON)</button></div>
      <div class="card panel find">
        <EventField />
        <label class="field">Gate<input maxLength={64} autocomplete="off" value={gate.value} onInput={(e) => { gate.value = e.currentTarget.value; }} onChange={() => store.set(gatePlace, gate.value.trim() || null)} /><small>Stands with each scan; kept on this device.</small></label>
      </div>
      {tries.value.length > 1 && (
        <section class="card panel stack" aria-labelledby="before">
          <h2 id="before">Before that</h2>
          <ul class="plain past">{tries.value.slice(1).map((t) => {
            const x = t.answer && verdictOf(t.answer, moment);
            return <li key={t.id} class={x?.tone ?? ''}><Shape of={x?.shape ?? (t.failed ? 'triangle' : 'none')} /><span><strong>{x?.word ?? (t.failed ? 'Not checked' : 'Checking …')}</strong>{t.answer?.ticket && ` ${seatOf(t.answer.ticket)}`} <span class="soft small">{moment(t.at)}</span></span>{t.failed && <button onClick={() => void run(t)}>Check it again</button>}</li>;
          })}</ul>
        </section>
      )}
    </div>
  );
}
