import { useSignal } from '@preact/signals';
import type { VNode } from 'preact';
import { type AdminRoom, type Autopilot, type LineOrder, type RoomPatch, patchRoom } from '../api';
import { Chip, Notice, dateText, number } from '../page';
import { act, changes, fieldOf, timeOf } from './act';
import * as live from './live';

/** Lowers and raises the rate by itself, within bounds. */
export function AutopilotCard({ r, a }: { r: AdminRoom; a: NonNullable<AdminRoom['autopilot']> }): VNode {
  const draft = useSignal<Autopilot | null>(null);
  const of = ({ enabled, min_rate_per_minute, target_p95_ms, max_error_share, max_pool_share }: Autopilot): Autopilot => ({ enabled, min_rate_per_minute, target_p95_ms, max_error_share, max_pool_share });
  const now = of(a), t = draft.value ?? now;
  const send = (to: Autopilot, from: Autopilot, done: string): void => {
    void act(done, () => patchRoom(live.token.value, r.event, { autopilot: changes(to, from) }), () => send(from, to, 'The earlier autopilot is back.')).then((ok) => { if (ok) draft.value = null; });
  };
  const whole: [keyof Autopilot, string, number][] = [['min_rate_per_minute', 'Lowest rate per minute', 1_000_000], ['target_p95_ms', 'Slowest answers (ms, 95 %)', 60_000]];
  const shares: [keyof Autopilot, string][] = [['max_error_share', 'Most errors (%)'], ['max_pool_share', 'Most of the database pool (%)']];
  const set = (k: keyof Autopilot, v: number): void => { draft.value = { ...t, [k]: v }; };
  const wrong = whole.some(([k, , max]) => !Number.isInteger(t[k]) || (t[k] as number) < 0 || (t[k] as number) > max)
    || shares.some(([k]) => !((t[k] as number) >= 0 && (t[k] as number) <= 1));
  const percent = (v: number): number => Math.round(v * 1000) / 10;
  return (
    <form class="card panel stack" noValidate onSubmit={(e) => { e.preventDefault(); if (!wrong && draft.value) send(t, now, 'The autopilot has new bounds.'); }}>
      <div class="row between"><h2>Autopilot</h2>
        <button type="button" role="switch" aria-checked={a.enabled} aria-label="Autopilot" class="switch"
          onClick={() => send({ ...now, enabled: !a.enabled }, now, a.enabled ? 'The autopilot is off: the rate stays as it is set.' : 'The autopilot watches the shop and lowers the rate when it has to.')}><span />{a.enabled ? 'On' : 'Off'}</button>
      </div>
      {r.effective_rate_per_minute !== undefined && <p>Rate in effect: <strong class="num">{number(r.effective_rate_per_minute)}</strong> of {number(r.throttle.rate_per_minute)} a minute.</p>}
      <p class="small soft">{a.reason ? `Last change${a.changed_at ? `, ${dateText(a.changed_at, { dateStyle: 'medium', timeStyle: 'medium' })}` : ''}: ${a.reason}` : 'It has changed nothing yet.'}</p>
      <div class="throttle">
        {whole.map(([k, name, max]) => <label class="field" key={k}>{name}<input type="number" inputMode="numeric" min={0} max={max} step={1} value={Number.isNaN(t[k]) ? '' : Number(t[k])} onInput={(e) => set(k, e.currentTarget.valueAsNumber)} /></label>)}
        {shares.map(([k, name]) => <label class="field" key={k}>{name}<input type="number" inputMode="decimal" min={0} max={100} step="any" value={Number.isNaN(t[k]) ? '' : percent(t[k] as number)} onInput={(e) => set(k, e.currentTarget.valueAsNumber / 100)} /></label>)}
      </div>
      {wrong && <Notice tone="bad">Some numbers are out of range.</Notice>}
      <div class="row">
        <button disabled={!draft.value || wrong}>Set the bounds</button>
        {draft.value && <button type="button" class="quiet" onClick={() => { draft.value = null; }}>Discard</button>}
      </div>
    </form>
  );
}

const orders: Record<LineOrder, string> = { fifo: 'First come, first served', draw: 'Draw at opening', random: 'Random, all the time' };

/** Order, schedule and who may join: what is settled before a sale. */
export function Settings({ r }: { r: AdminRoom }): VNode {
  const now = {
    order: r.order!, lobby_opens_at: fieldOf(r.lobby_opens_at), opens_at: fieldOf(r.opens_at), closes_at: fieldOf(r.closes_at),
    challenge: r.challenge ?? 'off', invite_only: !!r.invite_only, public_source: r.public_source ?? r.draw?.public_source ?? '',
  };
  const draft = useSignal<typeof now | null>(null), t = draft.value ?? now;
  const set = (change: Partial<typeof now>): void => { draft.value = { ...t, ...change }; };
  const began = r.state !== 'scheduled', opened = began && r.state !== 'lobby';
  const save = (): void => {
    const { lobby_opens_at, opens_at, closes_at, ...rest } = changes(t, now);
    const times = Object.fromEntries(Object.entries({ lobby_opens_at, opens_at, closes_at }).filter(([, v]) => v !== undefined).map(([k, v]) => [k, timeOf(v!)]));
    const body: RoomPatch = { ...rest, ...times };
    void act('The settings are saved.', () => patchRoom(live.token.value, r.event, body)).then((ok) => { if (ok) draft.value = null; });
  };
  const time = (k: 'lobby_opens_at' | 'opens_at' | 'closes_at', name: string, off: boolean): VNode => (
    <label class="field">{name}<input type="datetime-local" disabled={off} value={t[k]} onInput={(e) => set({ [k]: e.currentTarget.value })} /></label>
  );
  return (
    <form class="card panel stack" onSubmit={(e) => { e.preventDefault(); if (draft.value) save(); }}>
      <h2>Settings</h2>
      {r.order && (
        <label class="field">Order<select disabled={began} value={t.order} onChange={(e) => set({ order: e.currentTarget.value as LineOrder })}>
          {Object.entries(orders).map(([k, name]) => <option key={k} value={k}>{name}</option>)}
        </select>{began && <small>Settled when the waiting room opened.</small>}</label>
      )}
      <div class="throttle wide-fields">
        {time('lobby_opens_at', 'Waiting room opens', began)}
        {time('opens_at', 'Sale opens', opened)}
        {time('closes_at', 'Sale closes', r.state === 'closed')}
      </div>
      <p class="small soft">Times in your own zone. Empty: by hand.</p>
      {t.order === 'draw' && <label class="field">Public value for the draw<input maxLength={300} disabled={opened} value={t.public_source} onInput={(e) => set({ public_source: e.currentTarget.value })} /><small>Where it will come from, announced beforehand: “Lotto of 30 January, all six numbers”. Empty: none.</small></label>}
      <label class="choice"><input type="checkbox" checked={t.invite_only} onChange={(e) => set({ invite_only: e.currentTarget.checked })} />Only with an invitation</label>
      <label class="choice"><input type="checkbox" checked={t.challenge === 'pow'} onChange={(e) => set({ challenge: e.currentTarget.checked ? 'pow' : 'off' })} />Ask for a proof of work when joining</label>
      <div class="row">
        <button disabled={!draft.value}>Save</button>
        {draft.value && <button type="button" class="quiet" onClick={() => { draft.value = null; }}>Discard</button>}
      </div>
    </form>
  );
}

const drawStates = { committed: ['', 'secret committed'], frozen: ['warn', 'waits for the public value'], drawn: ['good', 'drawn'] } as const;

/** What has been published of the draw. */
export function DrawCard({ r, d }: { r: AdminRoom; d: NonNullable<AdminRoom['draw']> }): VNode {
  const [tone, text] = drawStates[d.status];
  return (
    <section class="card panel stack" aria-labelledby="draw">
      <div class="row between"><h2 id="draw">Draw</h2><Chip tone={tone}>{text}</Chip></div>
      <dl class="facts">
        <div><dt>People drawn</dt><dd>{d.n === null ? '–' : number(d.n)}</dd></div>
        <div><dt>Public value from</dt><dd>{d.public_source ?? 'none announced'}</dd></div>
        <div><dt>Public value</dt><dd>{d.public_value ?? '–'}</dd></div>
      </dl>
      <div><p class="small soft">Commitment (SHA-256 of the secret)</p><code class="hex">{d.commitment}</code></div>
      <p><a href={`/v1/rooms/${r.event}/draw`}>The published proof</a></p>
    </section>
  );
}
