import './index.css';
import { signal } from '@preact/signals';
import type { VNode } from 'preact';
import { type Event, getEvents } from '../api';
import { moneyText } from '../money';
import { Picture } from '../picture';
import { Chip, Notice, eventDate, mount, number, plural, problemText } from '../page';
import { pageData } from '../shell';

const data = pageData<{ events: Event[]; next_cursor: string | null; from: string; image_origins: string[]; search?: { q: string; type: string; city: string } }>();
const events = signal<Event[] | null>(data.events ?? null);
const cursor = signal<string | null>(data.next_cursor ?? null);
const failure = signal('');
const said = signal('');
// The search is part of the address, so that a result can be shared.
const asked = new URLSearchParams(location.search);
const fields = ['q', 'type', 'city'] as const;
const search = signal(Object.fromEntries(fields.map((f) => [f, (asked.get(f) ?? (f === 'q' ? asked.get('name') : null)) ?? ''])) as Record<(typeof fields)[number], string>);
const types = ['concert', 'theatre', 'sports', 'comedy', 'festival', 'classical', 'club'];

// Answers of searches that have been overtaken by a newer one are dropped.
let newest = 0;
async function load(more = false): Promise<void> {
  const mine = ++newest;
  try {
    // The page's own list began at that time, and so its cursor.
    const r = await getEvents({ ...search.value, from: data.from, cursor: (more && cursor.value) || undefined });
    if (mine !== newest) return;
    events.value = more ? [...(events.value ?? []), ...r.events] : r.events;
    cursor.value = r.next_cursor;
    failure.value = '';
    said.value = r.events.length ? `${plural(events.value.length, 'event')} found` : 'No event found';
  } catch (e) {
    if (mine === newest) failure.value = problemText(e);
  }
}

/** What can be said about the sale in two words. */
function saleState(e: Event): VNode {
  const room = e.room?.state;
  if (e.status === 'sold_out' || (e.tickets && e.tickets.available + e.tickets.held === 0)) return <Chip tone="bad">Sold out</Chip>;
  if (e.status === 'cancelled') return <Chip tone="bad">Cancelled</Chip>;
  if (room === 'closed' || e.status === 'closed') return <Chip>Sale ended</Chip>;
  if (room === 'paused') return <Chip tone="warn">Paused</Chip>;
  if (room === 'lobby' || room === 'scheduled') return <Chip tone="warn">{room === 'lobby' ? 'Waiting room open' : 'Soon'}</Chip>;
  return <Chip tone="good">On sale</Chip>;
}

function Card({ e, nth }: { e: Event; nth: number }): VNode {
  const from = e.tiers.reduce<Event['tiers'][number] | null>((a, t) => (!a || t.price.amount < a.price.amount ? t : a), null);
  return (
    <li>
      <a class="card" href={`/events/${e.id}`}>
        <Picture e={e} origins={data.image_origins} sizes="(max-width: 40rem) 100vw, 24rem" lazy={nth > 2} />
        <div class="body">
          <h2>{e.name}</h2>
          <p class="soft small">{(e.artists ?? []).map((a) => a.name).join(', ')}</p>
          <p>{eventDate(e, { dateStyle: 'medium', timeStyle: 'short' })}</p>
          <p class="soft">{e.venue.name}, {e.venue.city}</p>
        </div>
        <div class="foot">
          {saleState(e)}{e.series && <Chip>Several dates</Chip>}
          <span class="end">{from && <strong>from {moneyText(from.price)}</strong>}<br /><span class="soft small">{e.tickets && `${number(e.tickets.available)} left`}</span></span>
        </div>
      </a>
    </li>
  );
}

let pause: ReturnType<typeof setTimeout> | undefined;
function ask(field: (typeof fields)[number], value: string): void {
  search.value = { ...search.value, [field]: value };
  clearTimeout(pause);
  pause = setTimeout(() => {
    const q = new URLSearchParams(Object.entries(search.value).filter(([, v]) => v)).toString();
    history.replaceState(null, '', q ? `?${q}` : location.pathname);
    void load();
  }, 250);
}

function Page(): VNode {
  const s = search.value;
  return (
    <>
      <h1>What’s on</h1>
      <p class="lead soft">Pick an event. When many people want tickets at once there is a line, and everyone is let in at the pace the shop can serve.</p>
      <form class="search" role="search" onSubmit={(e) => { e.preventDefault(); void load(); }}>
        <label class="field">Event, artist or place<input type="search" maxLength={200} value={s.q} onInput={(e) => ask('q', e.currentTarget.value)} /></label>
        <label class="field">Kind
          <select value={s.type} onChange={(e) => ask('type', e.currentTarget.value)}>
            <option value="">All</option>
            {[...new Set([...types, ...(s.type ? [s.type] : [])])].map((t) => <option key={t} value={t}>{t[0]!.toUpperCase() + t.slice(1)}</option>)}
          </select>
        </label>
        <label class="field">City<input type="search" value={s.city} onInput={(e) => ask('city', e.currentTarget.value)} /></label>
      </form>
      <p class="vh" role="status">{said.value}</p>
      {failure.value && <Notice tone="bad" alert>{failure.value}</Notice>}
      {events.value ? (
        events.value.length ? <ul class="plain cards">{events.value.map((e, i) => <Card key={e.id} e={e} nth={i} />)}</ul> : <Notice>No event fits. Try fewer words.</Notice>
      ) : !failure.value && <p class="soft">Loading …</p>}
      {cursor.value && <p class="row"><button onClick={() => void load(true)}>Show more</button></p>}
    </>
  );
}

mount(<Page />);
// The page has what its address asks for, unless that is something the server does not look at.
if (!events.value || fields.some((f) => search.value[f].trim() !== (data.search?.[f] ?? ''))) void load();
