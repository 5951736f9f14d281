import { useSignal } from '@preact/signals';
import type { VNode } from 'preact';
import { type AdminChannel, type AdminRoom, type Event, type SingleSeats, adminChannels, allot, createChannel, getEvent, getPlan, makeCodes, patchEvent } from '../api';
import { placesText } from '../event/choice';
import { type Plan, readPlan } from '../map/plan';
import { number, plural, problemText } from '../page';
import { act, download, notice, selectionOf, timeOf } from './act';
import * as live from './live';

const rules: Record<SingleSeats, string> = { allow: 'Allow them', avoid: 'Avoid them in what is found for buyers', refuse: 'Refuse choices that leave them' };
/** So many tickets are named, the rest is counted. */
const mostNamed = 20;

/** Tickets kept for some people, the codes that open them, and the rule about single seats. */
export function Channels({ r }: { r: AdminRoom }): VNode {
  const list = useSignal<AdminChannel[] | null>(null), plan = useSignal<Plan | null>(null), event = useSignal<Event | null>(null), at = useSignal('');
  const load = async (): Promise<void> => {
    try {
      const token = live.token.value;
      const [c, p, e] = await Promise.all([adminChannels(token, r.event), plan.value ?? getPlan(r.event, token).then(readPlan), getEvent(r.event, token)]);
      [list.value, plan.value, event.value] = [c.channels, p, e];
      at.value ||= c.channels[0]?.id ?? '';
    } catch (e) {
      notice.value = { tone: 'bad', text: problemText(e) };
    }
  };
  const singles = (to: SingleSeats, from: SingleSeats): void => {
    void act(`Single seats: ${rules[to].toLowerCase()}.`, async () => { event.value = await patchEvent(live.token.value, r.event, { single_seats: to }); }, () => singles(from, to));
  };
  const c = list.value?.find((x) => x.id === at.value), rule = event.value?.single_seats;
  return (
    <details class="card panel" onToggle={(e) => { if (e.currentTarget.open) void load(); }}>
      <summary><h2>Channels and seats</h2></summary>
      <div class="stack">
        <p class="soft">A channel keeps tickets for some people: a fan club, a sponsor, the house. They are not for everybody, and open to those who have a code.</p>
        {!!list.value?.length && (
          <div class="scroll" tabIndex={0} role="region" aria-label="Channels">
            <table>
              <thead><tr><th scope="col">Channel</th><th scope="col">Left</th><th scope="col">Sold</th><th scope="col">Codes</th><th scope="col">People</th></tr></thead>
              <tbody>{list.value.map((x) => <tr key={x.id}><th scope="row">{x.name}</th><td>{number(x.available)}</td><td>{number(x.sold)}</td><td>{number(x.invites)}</td><td>{number(x.members)}</td></tr>)}</tbody>
            </table>
          </div>
        )}
        {list.value?.length === 0 && <p>No channels yet.</p>}
        <Create r={r} done={(id) => { at.value = id; void load(); }} />
        {c && <label class="field narrow">Channel<select value={at.value} onChange={(e) => { at.value = e.currentTarget.value; }}>{list.value!.map((x) => <option key={x.id} value={x.id}>{x.name}</option>)}</select></label>}
        {c && plan.value && <div class="pair"><Keep key={c.id} r={r} c={c} p={plan.value} done={() => void load()} /><Codes key={`c${c.id}`} r={r} c={c} done={() => void load()} /></div>}
        {rule && <label class="field narrow">Seats that would stay alone<select value={rule} onChange={(e) => singles(e.currentTarget.value as SingleSeats, rule)}>{Object.entries(rules).map(([k, name]) => <option key={k} value={k}>{name}</option>)}</select></label>}
      </div>
    </details>
  );
}

function Create({ r, done }: { r: AdminRoom; done: (id: string) => void }): VNode {
  const name = useSignal('');
  return (
    <form class="row" onSubmit={(e) => {
      e.preventDefault();
      void act(`The channel “${name.value.trim()}” is there. It keeps nothing yet.`, async () => {
        done((await createChannel(live.token.value, r.event, name.value.trim())).id);
        name.value = '';
      });
    }}>
      <label class="field grow">Name of a new channel<input required maxLength={100} value={name.value} onInput={(e) => { name.value = e.currentTarget.value; }} /></label>
      <button>Create it</button>
    </form>
  );
}

function Keep({ r, c, p, done }: { r: AdminRoom; c: AdminChannel; p: Plan; done: () => void }): VNode {
  const f = useSignal({ section: '', row: '', tier: '', quantity: '' }), t = f.value;
  const set = (change: Partial<typeof t>): void => { f.value = { ...t, ...change }; };
  const s = p.sections.find((x) => x.id === t.section), rows = s && p.rows.filter((x) => p.sections[x.section] === s), which = selectionOf(t);
  const run = async (how: 'allot' | 'release'): Promise<void> => {
    try {
      const { done: n, skipped } = await allot(live.token.value, r.event, c.id, how, which);
      const left = skipped.length > mostNamed ? `${placesText(p, skipped.slice(0, mostNamed))} and ${number(skipped.length - mostNamed)} more` : placesText(p, skipped);
      notice.value = {
        tone: 'good',
        text: `${plural(n, 'ticket')} ${how === 'allot' ? `kept for “${c.name}”` : `of “${c.name}” ${n === 1 ? 'is' : 'are'} everybody’s now`}.${skipped.length ? ` Left alone, because somebody holds or has bought them: ${left}.` : ''}`,
      };
      done();
    } catch (e) {
      notice.value = { tone: 'bad', text: problemText(e) };
    }
  };
  const all = which.all && !which.quantity;
  return (
    <form class="stack" onSubmit={(e) => { e.preventDefault(); void run('allot'); }}>
      <h3>Tickets of “{c.name}”</h3>
      <div class="throttle">
        <label class="field">Section<select value={t.section} onChange={(e) => set({ section: e.currentTarget.value, row: '' })}><option value="">Any</option>{p.sections.map((x) => <option key={x.id} value={x.id}>{x.name}</option>)}</select></label>
        {!!rows?.length && <label class="field">Row<select value={t.row} onChange={(e) => set({ row: e.currentTarget.value })}><option value="">Any</option>{rows.map((x) => <option key={x.name} value={x.name}>{x.name}</option>)}</select></label>}
        <label class="field">Price<select value={t.tier} onChange={(e) => set({ tier: e.currentTarget.value })}><option value="">Any</option>{p.tiers.map((x) => <option key={x.id} value={x.id}>{x.name}</option>)}</select></label>
        <label class="field">How many tickets<input type="number" inputMode="numeric" min={1} max={p.total} step={1} placeholder="all" value={t.quantity} onInput={(e) => set({ quantity: e.currentTarget.value })} /></label>
      </div>
      <p class="small soft">With a number, the last ones of the house that fit. Keeping them does not take them from anybody; released, they are on sale at once.</p>
      <div class="row"><button>{all ? 'Keep all tickets' : 'Keep these'}</button><button type="button" disabled={!c.available} onClick={() => void run('release')}>{all ? 'Release all of the channel' : 'Release these'}</button></div>
    </form>
  );
}

function Codes({ r, c, done }: { r: AdminRoom; c: AdminChannel; done: () => void }): VNode {
  const f = useSignal({ count: '10', uses: '1', note: '', expires: '' }), codes = useSignal<string[] | null>(null), t = f.value;
  const set = (change: Partial<typeof t>): void => { f.value = { ...t, ...change }; };
  const text = codes.value?.join('\n') ?? '';
  return (
    <form class="stack" onSubmit={(e) => {
      e.preventDefault();
      void act('The codes are made. They are shown once: copy or download them now.', async () => {
        codes.value = (await makeCodes(live.token.value, r.event, c.id, { count: Number(t.count), uses: Number(t.uses), note: t.note.trim(), expires_at: timeOf(t.expires) })).codes;
        done();
      });
    }}>
      <h3>Codes for “{c.name}”</h3>
      <div class="throttle wide-fields">
        <label class="field">How many codes<input type="number" inputMode="numeric" required min={1} max={1000} step={1} value={t.count} onInput={(e) => set({ count: e.currentTarget.value })} /></label>
        <label class="field">People per code<input type="number" inputMode="numeric" required min={1} max={100_000} step={1} value={t.uses} onInput={(e) => set({ uses: e.currentTarget.value })} /></label>
        <label class="field">Good until<input type="datetime-local" value={t.expires} onInput={(e) => set({ expires: e.currentTarget.value })} /></label>
      </div>
      <label class="field">Note<input maxLength={200} value={t.note} onInput={(e) => set({ note: e.currentTarget.value })} /><small>For yourself: whom they are for. Without an end they stay good.</small></label>
      <div class="row"><button>Make {plural(Number(t.count) || 0, 'code')}</button></div>
      {codes.value && (
        <>
          <label class="field">Codes<textarea class="codes" readOnly rows={5} value={text} /></label>
          <div class="row">
            {navigator.clipboard && <button type="button" onClick={() => void act('Copied.', () => navigator.clipboard.writeText(text))}>Copy the codes</button>}
            <button type="button" onClick={() => download(`${text}\n`, `codes-${r.event}.txt`, 'text/plain')}>Download as text</button>
          </div>
        </>
      )}
    </form>
  );
}
