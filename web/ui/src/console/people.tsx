import { useSignal } from '@preact/signals';
import type { VNode } from 'preact';
import { type AdminRoom, type AdminVisitor, type AuditEntry, type Invite, type Lane, adminAudit, getVisitor, makeInvites, moveVisitor } from '../api';
import { dateText, number, plural, problemText } from '../page';
import { act, auditOf, csv, download, fieldOf, notice, timeOf } from './act';
import * as live from './live';

const lanes: Record<Lane, string> = { staff: 'Staff', accessibility: 'Accessibility', fan: 'Fan club', general: 'General', suspect: 'Suspect' };
const Lanes = ({ value, onChange, only = Object.keys(lanes) as Lane[] }: { value: Lane; onChange: (l: Lane) => void; only?: Lane[] }): VNode => (
  <select value={value} onChange={(e) => onChange(e.currentTarget.value as Lane)}>{only.map((l) => <option key={l} value={l}>{lanes[l]}</option>)}</select>
);

/** Where one visitor is, and why. */
export function LookUp({ r }: { r: AdminRoom }): VNode {
  const code = useSignal(''), found = useSignal<AdminVisitor | null>(null), lane = useSignal<Lane>('general');
  const look = async (id: string): Promise<void> => {
    try {
      found.value = await getVisitor(live.token.value, r.event, id);
      lane.value = found.value.lane ?? 'general';
    } catch (e) {
      found.value = null;
      notice.value = { tone: 'bad', text: problemText(e) };
    }
  };
  const v = found.value, at = (t: string): string => dateText(t, { dateStyle: 'medium', timeStyle: 'medium' });
  const facts: [string, string | false | null][] = v ? [
    ['State', v.state], ['Lane', v.lane && lanes[v.lane]], ['Place', v.place !== null && number(v.place)], ['Number in the lobby', v.index !== null && number(v.index)],
    ['Ahead of them', v.ahead !== null && number(v.ahead)], ['Wait, min', v.wait && `${Math.floor(v.wait.low_s / 60)}–${Math.ceil(v.wait.high_s / 60)}`],
    ['Let in', v.admitted_at && at(v.admitted_at)], ['Entered', v.claimed_at && at(v.claimed_at)], ['Until', v.until && at(v.until)],
    ['Turns missed', !!v.missed && number(v.missed)], ['Away since', v.away_since && at(v.away_since)],
  ] : [];
  return (
    <section class="card panel stack" aria-labelledby="lookup">
      <h2 id="lookup">Look up a visitor</h2>
      <form class="row" role="search" onSubmit={(e) => { e.preventDefault(); void look(code.value.trim()); }}>
        <label class="field grow">Code from their queue page<input required maxLength={200} autocomplete="off" spellcheck={false} value={code.value} onInput={(e) => { code.value = e.currentTarget.value; }} /></label>
        <button>Look up</button>
      </form>
      <div role="status">{v && <p><strong>{v.explanation}</strong></p>}</div>
      {v && <dl class="facts">{facts.filter(([, x]) => x).map(([name, x]) => <div key={name}><dt>{name}</dt><dd>{x}</dd></div>)}</dl>}
      {v?.lane && (
        <form class="row" onSubmit={(e) => {
          e.preventDefault();
          void act(`They are in the lane “${lanes[lane.value]}” now.`, () => moveVisitor(live.token.value, r.event, v.visitor, lane.value)).then((ok) => { if (ok) void look(v.visitor); });
        }}>
          <label class="field">Move to lane<Lanes value={lane.value} onChange={(l) => { lane.value = l; }} /></label>
          <button disabled={lane.value === v.lane}>Move</button>
        </form>
      )}
    </section>
  );
}

/** Makes signed invitations, for a number of people or for e-mail addresses. */
export function Invites({ r }: { r: AdminRoom }): VNode {
  const lane = useSignal<Lane>('fan'), count = useSignal('10'), emails = useSignal(''), single = useSignal(true), expires = useSignal(fieldOf(new Date(Date.now() + 30 * 86_400_000).toISOString()));
  const made = useSignal<Invite[] | null>(null);
  const list = emails.value.split(/[\s,;]+/).filter(Boolean);
  const make = (): void => {
    void act('The invitations are made. They are shown once: copy or download them now.', async () => {
      made.value = (await makeInvites(live.token.value, r.event, {
        lane: lane.value, ...(list.length ? { emails: list } : { count: Number(count.value) }), single_use: single.value, expires_at: timeOf(expires.value)!,
      })).invites;
    });
  };
  return (
    <form class="card panel stack" onSubmit={(e) => { e.preventDefault(); make(); }}>
      <h2>Invitations</h2>
      <div class="throttle wide-fields">
        <label class="field">Lane<Lanes value={lane.value} only={['staff', 'accessibility', 'fan', 'general']} onChange={(l) => { lane.value = l; }} /></label>
        <label class="field">How many<input type="number" inputMode="numeric" min={1} max={10_000} step={1} required={!list.length} disabled={!!list.length} value={list.length || count.value} onInput={(e) => { count.value = e.currentTarget.value; }} /></label>
        <label class="field">Good until<input type="datetime-local" required value={expires.value} onInput={(e) => { expires.value = e.currentTarget.value; }} /></label>
      </div>
      <label class="field">For these e-mail addresses<textarea value={emails.value} onInput={(e) => { emails.value = e.currentTarget.value; }} /><small>One a line; each gets one that is good for that address only. Empty: for whoever has the link.</small></label>
      <label class="choice"><input type="checkbox" checked={single.value} onChange={(e) => { single.value = e.currentTarget.checked; }} />Each works for one person</label>
      <div class="row"><button>Make {plural(list.length || Number(count.value) || 0, 'invitation')}</button></div>
      {made.value && (
        <>
          <label class="field">Links<textarea readOnly rows={5} value={made.value.map((i) => (i.email ? `${i.email} ${i.url}` : i.url)).join('\n')} /></label>
          <div class="row">
            {navigator.clipboard && <button type="button" onClick={() => void act('Copied.', () => navigator.clipboard.writeText(made.value!.map((i) => i.url).join('\n')))}>Copy the links</button>}
            <button type="button" onClick={() => download(csv([['email', 'lane', 'url'], ...made.value!.map((i) => [i.email ?? '', i.lane, i.url])]), `invites-${r.event}.csv`, 'text/csv')}>Download as CSV</button>
          </div>
        </>
      )}
    </form>
  );
}

export const AuditTable = ({ entries, where }: { entries: AuditEntry[]; where?: boolean }): VNode => (
  <table>
    <thead><tr><th scope="col">When</th><th scope="col">Who</th><th scope="col">What</th>{where && <th scope="col">Where</th>}<th scope="col">Details</th></tr></thead>
    <tbody>{entries.map((a, i) => (
      <tr key={i}><td>{dateText(a.at, { dateStyle: 'medium', timeStyle: 'medium' })}</td><td>{a.actor}</td><td>{a.action}</td>{where && <td><code>{a.subject}</code></td>}<td>{a.detail != null && <pre>{typeof a.detail === 'string' ? a.detail : JSON.stringify(a.detail)}</pre>}</td></tr>
    ))}</tbody>
  </table>
);

/** What was done to this room. */
export function RoomAudit({ r }: { r: AdminRoom }): VNode {
  const list = useSignal<AuditEntry[] | null>(null);
  const load = (): void => {
    adminAudit(live.token.value, { limit: 200 }).then((x) => { list.value = auditOf(x.entries, r.event); }).catch((e: unknown) => { notice.value = { tone: 'bad', text: problemText(e) }; });
  };
  return (
    <details class="card panel" onToggle={(e) => { if (e.currentTarget.open) load(); }}>
      <summary><h2>What was done to this room</h2></summary>
      <div class="scroll" tabIndex={0} role="region" aria-label="Audit log of this room">
        {list.value && <AuditTable entries={list.value} />}
        {list.value?.length === 0 && <p class="soft">Nothing, among the last 200 entries of the audit log.</p>}
      </div>
      <p><button onClick={load}>Refresh</button></p>
    </details>
  );
}
