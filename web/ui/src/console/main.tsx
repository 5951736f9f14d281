import './console.css';
import { signal, useSignal } from '@preact/signals';
import type { ComponentChildren, ComponentType, VNode } from 'preact';
import { useEffect } from 'preact/hooks';
import { type AdminRoom, type AuditEntry, adminAudit } from '../api';
import { Chip, Notice, mount, number, problemText } from '../page';
import { notice } from './act';
import type ChartType from './chart';
import { Channels } from './channels';
import { Actions, ThrottleForm, Words } from './door';
import * as live from './live';
import { type View, events, opened, readEvents, roomDate, view } from './parts';
import { AuditTable, Invites, LookUp, RoomAudit } from './people';
import { AutopilotCard, DrawCard, Settings } from './setup';

const chosen = signal('');
const Chart = signal<{ C: typeof ChartType } | null>(null);

function Login(): VNode {
  const t = useSignal('');
  return (
    <form class="login card panel stack" onSubmit={(e) => { e.preventDefault(); void live.signIn(t.value.trim()); }}>
      <h1>Console</h1>
      <label class="field">Admin token<input type="password" autocomplete="current-password" required value={t.value} onInput={(e) => { t.value = e.currentTarget.value; }} /></label>
      <p class="small soft">The server prints it when it starts. It is kept until this tab is closed.</p>
      {live.failure.value && <Notice tone="bad" alert>{live.failure.value}</Notice>}
      <button class="primary">Sign in</button>
    </form>
  );
}

const stateTone = { open: 'good', lobby: 'warn', paused: 'warn', draining: 'warn', scheduled: '', closed: 'bad' } as const;
const reasonText = { paused: 'paused', shop_unavailable: 'shop not answering', sold_out: 'sold out', all_held: 'all tickets in carts', full: 'shop full', draw_pending: 'draw not finished', restoring: 'restoring places', stopped: 'rate is 0', closed: 'closed' } as const;
const stateText = (r: AdminRoom): string => (r.reason && r.reason !== r.state ? `${r.state}, ${reasonText[r.reason] ?? r.reason}` : r.state);

function Rooms(): VNode {
  const rooms = live.rooms.value, alike = new Set(rooms.map((r) => r.name)).size < rooms.length;
  useEffect(() => { if (alike && !events.value) void readEvents(); }, [alike]);
  return (
    <nav aria-label="Rooms" class="rooms stack">
      {rooms.map((r) => (
        <button key={r.event} class="card" aria-current={r.event === chosen.value && view.value === 'room' ? 'true' : undefined} onClick={() => { chosen.value = r.event; view.value = 'room'; }}>
          <strong>{r.name}</strong><Chip tone={stateTone[r.state]}>{r.state}</Chip>
          <When r={r} />
          <span class="soft small num">{number(r.waiting)} waiting</span><span class="soft small num">{r.tickets ? `${number(r.tickets.available)} left` : ''}</span>
        </button>
      ))}
      {!rooms.length && <p class="soft">No rooms yet.</p>}
    </nav>
  );
}

function When({ r }: { r: AdminRoom }): VNode | null {
  const date = roomDate(r, live.rooms.value);
  return date ? <span class="soft small when">{date}</span> : null;
}

function Tile({ name, children }: { name: string; children: ComponentChildren }): VNode {
  return <div class="card"><dt>{name}</dt><dd>{children}</dd></div>;
}

function Room({ r }: { r: AdminRoom }): VNode {
  const h = live.history.get(r.event) ?? [], times = h.map((s) => s.at), stock = r.stock ?? r.tickets, all = live.shop.value, shopTimes = all.map((s) => s.at);
  const C = Chart.value?.C as ComponentType<Parameters<typeof ChartType>[0]> | undefined;
  return (
    <div class="stack">
      <div class="row between"><div><h1>{r.name}</h1><When r={r} /></div><span class="row"><Chip tone={stateTone[r.state]}>{stateText(r)}</Chip><a href={`/queue/${r.event}`}>Queue page</a><a href={`/events/${r.event}`}>Event page</a></span></div>
      <Actions r={r} />
      <dl class="tiles">
        <Tile name="Waiting">{number(r.waiting)}</Tile>
        <Tile name="Their turn">{number(r.ready)}</Tile>
        <Tile name="Shopping">{number(r.shopping)}</Tile>
        <Tile name="Let in / min">{number(r.admitted_last_minute)}</Tile>
        {r.effective_rate_per_minute !== undefined && <Tile name="Rate now">{number(r.effective_rate_per_minute)}</Tile>}
        <Tile name="Wait, min">{r.wait ? `${Math.floor(r.wait.low_s / 60)}–${Math.ceil(r.wait.high_s / 60)}` : '–'}</Tile>
        {r.no_show_share != null && <Tile name="No-shows">{number(Math.round(r.no_show_share * 1000) / 10)} %</Tile>}
        {r.away !== undefined && <Tile name="Away">{number(r.away)}</Tile>}
        {r.suspects !== undefined && <Tile name="Suspects">{number(r.suspects)}</Tile>}
        {stock && <Tile name="Tickets left">{number(stock.available)}</Tile>}
        {stock && <Tile name="Held">{number(stock.held)}</Tile>}
        {r.tickets && <Tile name="Sold">{number(r.tickets.sold)}</Tile>}
      </dl>
      <div class="pair"><ThrottleForm key={r.event} r={r} /><div class="stack"><Words key={`w${r.event}`} r={r} /><LookUp key={`l${r.event}`} r={r} /></div></div>
      {C && (
        <div class="charts">
          <C key={`a${r.event}`} title="Waiting" times={times} lines={[{ name: 'people', values: h.map((s) => s.waiting), colour: '--accent', fill: true }]} />
          <C key={`b${r.event}`} title="Let in per minute" times={times} lines={[{ name: 'last minute', values: h.map((s) => s.admitted), colour: '--accent' }, { name: 'limit', values: h.map((s) => s.rate), colour: '--warn', dashed: true }]} />
          <C key={`c${r.event}`} title="Shoppers" times={times} lines={[{ name: 'inside', values: h.map((s) => s.shoppers), colour: '--accent' }, { name: 'cap', values: h.map((s) => s.cap), colour: '--warn', dashed: true }]} />
          {r.tickets && <C key={`d${r.event}`} title="Tickets" times={times} lines={[{ name: 'left', values: h.map((s) => s.available), colour: '--accent' }, { name: 'held', values: h.map((s) => s.held), colour: '--warn' }, { name: 'sold', values: h.map((s) => s.sold), colour: '--good' }]} />}
          {!!all.length && <C key="e" title="Orders per minute, all events" times={shopTimes} lines={[{ name: 'orders', values: all.map((s) => s.orders), colour: '--good' }, { name: 'errors', values: all.map((s) => s.errors), colour: '--bad' }]} />}
          {!!all.length && <C key="f" title="Response time, 95th percentile" unit=" ms" times={shopTimes} lines={[{ name: 'p95', values: all.map((s) => Math.round(s.p95)), colour: '--accent' }]} />}
        </div>
      )}
      <div class="pair">
        {r.autopilot && <AutopilotCard key={`p${r.event}`} r={r} a={r.autopilot} />}
        {r.draw && <DrawCard r={r} d={r.draw} />}
        {r.order && <Settings key={`s${r.event}`} r={r} />}
        <Invites key={`i${r.event}`} r={r} />
      </div>
      <Channels key={`k${r.event}`} r={r} />
      <RoomAudit key={`u${r.event}`} r={r} />
    </div>
  );
}

function Audit(): VNode {
  const list = useSignal<AuditEntry[] | null>(null);
  useEffect(() => {
    adminAudit(live.token.value).then((r) => { list.value = r.entries; }).catch((e: unknown) => { notice.value = { tone: 'bad', text: problemText(e) }; });
  }, []);
  return (
    <div class="stack">
      <h1>Audit log</h1>
      <div class="card panel scroll" tabIndex={0} role="region" aria-label="Audit log">
        <AuditTable entries={list.value ?? []} where />
        {list.value?.length === 0 && <p class="soft">Nothing has been changed yet.</p>}
      </div>
    </div>
  );
}

/** The sections that are loaded when they are opened first. */
const later: Partial<Record<View, () => Promise<{ default: ComponentType }>>> = {
  orders: () => import('./orders'), money: () => import('./money'), event: () => import('./sale'), messages: () => import('./messages'), door: () => import('./gate'),
};
const sections: Record<View, string> = { room: 'Rooms', orders: 'Orders', money: 'Money', event: 'Event', messages: 'Webhooks and e-mails', door: 'Door', audit: 'Audit log' };
const loaded = signal<Partial<Record<View, { C: ComponentType }>>>({});

function Later({ v }: { v: View }): VNode {
  const failed = useSignal(false), C = loaded.value[v]?.C;
  const load = (): void => {
    failed.value = false;
    later[v]!().then((m) => { loaded.value = { ...loaded.value, [v]: { C: m.default } }; }, () => { failed.value = true; });
  };
  useEffect(() => { if (!C) load(); }, [v]);
  if (C) return <C />;
  return <div class="stack"><h1>{sections[v]}</h1>{failed.value ? <Notice tone="bad" alert><span class="row between">This part of the console could not be loaded.<button onClick={load}>Try again</button></span></Notice> : <p class="soft" role="status">Loading …</p>}</div>;
}

const linkText = { live: ['good', 'Live'], connecting: ['', 'Connecting'], reconnecting: ['warn', 'Reconnecting'], polling: ['warn', 'Polling'], stopped: ['bad', 'Stopped'] } as const;

function Page(): VNode {
  useEffect(() => {
    if (live.token.value) void live.signIn(live.token.value);
  }, []);
  useEffect(() => {
    if (live.signedIn.value) void import('./chart').then((m) => { Chart.value = { C: m.default }; });
  }, [live.signedIn.value]);
  if (!live.signedIn.value) return <Login />;
  const r = live.rooms.value.find((x) => x.event === chosen.value) ?? live.rooms.value[0];
  if (r && r.event !== chosen.value) queueMicrotask(() => { chosen.value = r.event; });
  const [tone, text] = linkText[live.link.value], n = notice.value;
  return (
    <>
      <div class="row between">
        <nav class="tabs" aria-label="Console sections">
          {(Object.keys(sections) as View[]).map((v) => (
            <button key={v} aria-current={view.value === v ? 'page' : undefined} onClick={() => {
              view.value = v;
              opened.value = '';
              notice.value = null;
            }}>{sections[v]}</button>
          ))}
        </nav>
        <span class="row"><Chip tone={tone}>{text}</Chip><button class="quiet" onClick={live.signOut}>Sign out</button></span>
      </div>
      {!live.reachable.value && <Notice tone="bad" alert>The queue or the ticket store does not answer. The numbers below may be old.</Notice>}
      <div role="status">{n && <Notice tone={n.tone}><span class="row between">{n.text}{n.undo && <button onClick={() => { const undo = n.undo!; notice.value = null; undo(); }}>Undo</button>}</span></Notice>}</div>
      {later[view.value] ? <Later key={view.value} v={view.value} /> : view.value === 'audit' ? <Audit /> : <div class="desk"><Rooms />{r ? <Room key={r.event} r={r} /> : <h1>Rooms</h1>}</div>}
    </>
  );
}

mount(<Page />, 'Console · onsale');
