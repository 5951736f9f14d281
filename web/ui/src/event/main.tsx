import './event.css';
import { effect, signal, useSignal } from '@preact/signals';
import type { VNode } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { type HeldTicket, type Money, calendarOf } from '../api';
import { kinds, marksText, notesText } from '../map/marks';
import { seatName } from '../map/plan';
import { SeatMap } from '../map/seatmap';
import { Signs } from '../map/sign';
import { blocked } from '../map/status';
import { moneyText } from '../money';
import { Breakdown, termsText } from '../price';
import { Picture } from '../picture';
import { Chip, Countdown, Notice, eventDate, mount, number, plural, useSeconds } from '../page';
import { type AreaChoice, openIn, placesText, words } from './choice';
import { dateState } from './dates';
import * as shop from './shop';

const muted = signal<ReadonlySet<number>>(new Set());
/** Marks that seats must have to be shown as free. */
const only = signal(0);
const inList = signal(false);

/** What is special about a seat, in words. */
const marks = (i: number): string => marksText(shop.plan.value!.marks[i]!);
/** That, and through which door to come. */
const notes = (i: number): string => [marks(i), entrance(shop.plan.value!.section[i]!)].filter(Boolean).join(' · ');
const entrance = (section: number): string => {
  const name = shop.plan.value!.sections[section]?.entrance;
  return name ? `entrance: ${name}` : '';
};

const tierOf = (i: number) => shop.plan.value!.tiers[shop.plan.value!.tier[i]!]!;

function Hero(): VNode | null {
  const e = shop.event.value;
  if (!e) return null;
  return (
    <header class="hero">
      <Picture e={e} origins={shop.origins} sizes="(max-width: 76rem) 100vw, 72rem" />
      <h1>{e.name}</h1>
      {!!e.artists?.length && <p>{e.artists.map((a) => a.name).join(', ')}</p>}
      <p class="soft">{eventDate(e)} · {e.venue.name}, {e.venue.city}{e.doors_at ? ` · doors ${eventDate(e, { timeStyle: 'short' }, e.doors_at)}` : ''} · <a href={calendarOf(e.id)}>Add to the calendar</a></p>
    </header>
  );
}

/** The other dates of the series, by the clocks of their place. */
function Dates(): VNode | null {
  const o = shop.others;
  if (!o?.dates.length) return null;
  return (
    <nav class="dates" aria-label="Other dates">
      <h2>Other dates</h2>
      <ul class="plain">
        {o.dates.map((d) => {
          const state = dateState(d);
          return (
            <li key={d.event}>
              <a class="card" href={`/events/${d.event}`}>
                <time dateTime={d.starts_at}>{eventDate(d, { dateStyle: 'medium', timeStyle: 'short' })}</time>
                {state && <span class={`small ${state.tone}`}>{state.text}</span>}
              </a>
            </li>
          );
        })}
        {!!o.more && <li class="soft small">and {number(o.more)} more</li>}
      </ul>
    </nav>
  );
}

const linkText = { live: ['good', 'Live'], connecting: ['', 'Connecting'], reconnecting: ['warn', 'Reconnecting'], polling: ['warn', 'Updated every few seconds'], stopped: ['', ''] } as const;

const leftText = (t: { free: number; word: string } | undefined): string =>
  t?.word === 'sold out' ? t.word : `${number(t?.free ?? 0)} free${t?.word && t.free ? `, ${t.word}` : ''}`;

/** Price categories, which filter the map, and what the shapes mean. */
function Legend(): VNode | null {
  const p = shop.plan.value;
  if (!p) return null;
  const flip = (t: number): void => {
    const next = new Set(muted.value);
    if (!next.delete(t)) next.add(t);
    muted.value = next;
  };
  const there = p.marks.reduce((all, m) => all | m, 0);
  return (
    <div class="stack">
      <div class="legend" role="group" aria-label="Price categories shown">
        {p.tiers.map((t, i) => (
          <button key={t.id} aria-pressed={!muted.value.has(i)} onClick={() => flip(i)}>
            <span class="swatch" ref={(e) => { if (e) e.style.background = t.color; }} />{t.name} {moneyText(t.price)} <span class="soft">{leftText(shop.tiersLeft.value[i])}</span>
          </button>
        ))}
      </div>
      {!!there && (
        <div class="legend" role="group" aria-label="Show only seats that are">
          {kinds.filter((k) => there & k.bit).map((k) => (
            <button key={k.name} class="only" aria-pressed={!!(only.value & k.bit)} onClick={() => { only.value ^= k.bit; }}><Signs bits={k.bit} />{k.text}</button>
          ))}
        </div>
      )}
      <div class="shapes">
        <span><svg viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="6.5" fill="var(--accent)" /></svg>free</span>
        <span><svg viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="7" fill="var(--ink)" /><path d="M5 8.3l2.2 2.4L11 6" stroke="var(--card)" stroke-width="1.8" fill="none" /></svg>yours</span>
        <span><svg viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="5.5" stroke="var(--soft)" stroke-width="1.6" fill="none" /></svg>in someone’s basket</span>
        <span><svg viewBox="0 0 16 16" aria-hidden="true"><path d="M5 5l6 6M11 5l-6 6" stroke="var(--soft)" stroke-width="1.6" /></svg>sold</span>
        {shop.shut.value && <span><svg viewBox="0 0 16 16" aria-hidden="true"><path d="M4 8h8" stroke="var(--soft)" stroke-width="1.8" /></svg>not on general sale</span>}
        {!!shop.channels.value.length && <span><svg viewBox="0 0 16 16" aria-hidden="true"><path d="M8 0l8 8-8 8-8-8z" fill="var(--accent)" /></svg>{shop.channels.value.map((c) => c.name).join(', ')}</span>}
      </div>
    </div>
  );
}

function MapView(): VNode {
  const canvas = useRef<HTMLCanvasElement>(null), map = useRef<SeatMap | null>(null);
  const tip = useSignal<{ i: number; x: number; y: number } | null>(null);
  useEffect(() => {
    const p = shop.plan.value!;
    const m = (map.current = new SeatMap(canvas.current!, p, shop.status.length ? shop.status : new Uint8Array(p.total), {
      pick: (i) => {
        if (!shop.shopping.value) shop.notice.value = { tone: '', text: 'Join the queue to choose seats.' };
        else shop.toggle(i);
      },
      pickArea: (s) => {
        const sec = p.sections[s]!;
        if (sec.kind === 'ga' && shop.shopping.value) shop.setQuantity(s, 0, shop.quantity(s, 0) + 1);
      },
      point: (i, x, y) => { tip.value = i < 0 ? null : { i, x, y }; },
    }));
    let known = shop.status;
    const stops = [
      effect(() => {
        void shop.version.value;
        if (known !== shop.status || shop.lastChange === null) m.setStatus((known = shop.status));
        else m.changed(shop.lastChange);
      }),
      effect(() => m.setOwn(shop.chosen.value, shop.mine.value, shop.bySection.value)),
      effect(() => m.setKept(shop.kept.value)),
      effect(() => m.hint(shop.hints.value)),
      effect(() => m.mute(muted.value, only.value)),
      effect(() => {
        const seats = shop.spotlight.value;
        if (seats.length) {
          m.show(seats);
          shop.spotlight.value = [];
        }
      }),
    ];
    return () => {
      for (const stop of stops) stop();
      m.close();
    };
  }, []);
  const t = tip.value;
  return (
    <div class="mapbox card">
      <canvas ref={canvas} tabIndex={0} role="application" aria-label="Seat map. Arrow keys move it, plus and minus zoom, Enter chooses or drops the seat in the middle. The list holds the same seats." />
      <div class="zoom">
        <button aria-label="Zoom in" onClick={() => map.current?.zoom(1.6)}>+</button>
        <button aria-label="Zoom out" onClick={() => map.current?.zoom(1 / 1.6)}>−</button>
        <button aria-label="Show the whole plan" onClick={() => map.current?.whole()}>⤢</button>
      </div>
      <div role="status">{t && <Tip key={t.i} {...t} />}</div>
    </div>
  );
}

function Tip({ i, x, y }: { i: number; x: number; y: number }): VNode {
  void shop.version.value;
  const own = shop.chosen.value.has(i) || shop.mine.value.has(i);
  const state = own ? 'yours' : shop.isFree(i) ? shop.channelOf(i)?.name ?? 'free' : (['free', 'in someone’s basket', 'sold', 'not on general sale'] as const)[shop.status[i] as 0 | 1 | 2 | 3];
  const place = (e: HTMLElement | null): void => {
    const box = e?.closest<HTMLElement>('.mapbox');
    if (!e || !box) return;
    const left = Math.max(6, Math.min(x - e.offsetWidth / 2, box.clientWidth - e.offsetWidth - 6));
    const top = y - e.offsetHeight - 18 > 4 ? y - e.offsetHeight - 18 : y + 22;
    e.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  };
  return <div class="tip" ref={place}>{seatName(shop.plan.value!, i)}<br />{tierOf(i).name} · {moneyText(tierOf(i).price)} · {state}{notes(i) && <><br />{notes(i)}</>}</div>;
}

function Stepper({ value, max, set, label }: { value: number; max: number; set: (n: number) => void; label: string }): VNode {
  return (
    <div class="stepper" role="group" aria-label={label}>
      <button type="button" aria-label="One fewer" disabled={value <= 0} onClick={() => set(value - 1)}>−</button>
      <output>{value}</output>
      <button type="button" aria-label="One more" disabled={value >= max} onClick={() => set(value + 1)}>+</button>
    </div>
  );
}

const kind = (i: number): string => (marks(i) ? `${marks(i)}, ` : '');

/** The same seats as on the map: section, then row, then seat. */
function ListView(): VNode {
  const p = shop.plan.value!;
  const section = useSignal(0), open = useSignal(-1);
  void shop.version.value;
  const s = p.sections[section.value]!;
  const canChoose = shop.shopping.value && !shop.hold.value?.pinned;
  /** General sale, and one's own channels that have tickets in the area. */
  const from = s.kind === 'ga' ? [0, ...shop.channels.value.map((_, k) => k + 1)].filter((c) => !c || shop.quantity(section.value, c) || openIn(shop.status, shop.kept.value, s.first, s.count, c)) : [];
  return (
    <div class="card panel stack seatlist">
      <label class="field">Section
        <select value={section.value} onChange={(e) => { section.value = +e.currentTarget.value; open.value = -1; }}>
          {p.sections.map((x, i) => <option key={x.id} value={i}>{x.name} ({number(shop.freeIn(x.first, x.count))} free)</option>)}
        </select>
      </label>
      {s.entrance && <p class="small soft">Entrance: {s.entrance}</p>}
      {s.kind === 'ga' ? (
        from.map((c) => (
          <div class="row between" key={c}>
            <span>{c ? `${shop.channels.value[c - 1]!.name}: ` : ''}{moneyText(p.tiers[s.tier ?? 0]!.price)} each, free choice of place</span>
            {canChoose && <Stepper label={`Tickets for ${s.name}${c ? `, ${shop.channels.value[c - 1]!.name}` : ''}`} value={shop.quantity(section.value, c)} max={shop.limit()} set={(n) => shop.setQuantity(section.value, c, n)} />}
          </div>
        ))
      ) : (
        <div>
          {p.rows.map((r, ri) => r.section === section.value && (
            <div class="seatrow" key={ri}>
              <button aria-expanded={open.value === ri} onClick={() => { open.value = open.value === ri ? -1 : ri; }}>
                <span>Row {r.name}</span><span class="soft small">{number(shop.freeIn(r.first, r.seats.length))} free</span>
              </button>
              {open.value === ri && (
                <div class="seats">
                  {r.seats.map((seat, k) => {
                    const i = r.first + k, own = shop.chosen.value.has(i), held = shop.mine.value.has(i), free = shop.isFree(i);
                    const channel = shop.channelOf(i)?.name, why = held ? ', yours' : free || own ? `${channel ? `, ${channel}` : ''}${shop.hints.value.has(i) ? ', pointed out' : ''}` : shop.status[i] === blocked ? ', not on general sale' : ', taken';
                    return (
                      <button key={i} class={`${channel ? 'kept' : ''} ${shop.hints.value.has(i) ? 'hint' : ''}`} aria-pressed={own || held} disabled={!canChoose || (!free && !own && !held)} onClick={() => shop.toggle(i)}
                        ref={(e) => { if (e) e.style.borderColor = free || own ? tierOf(i).color : ''; }}
                        aria-label={`Row ${r.name}, seat ${seat}, ${kind(i)}${moneyText(tierOf(i).price)}${why}`}>{seat}<Signs bits={p.marks[i]!} /></button>
                    );
                  })}
                </div>
              )}
            </div>
          ))}
        </div>
      )}
    </div>
  );
}

function Prices(): VNode | null {
  const e = shop.event.value;
  return e && (
    <ul class="plain prices" aria-label="Prices">
      {e.tiers.map((t) => (
        <li key={t.id}>
          <span>{t.name} {t.availability && words[t.availability] && <Chip tone={t.availability === 'sold_out' ? 'bad' : 'warn'}>{words[t.availability]}</Chip>}<br /><span class="soft small">{t.available === null ? '' : t.available ? `${number(t.available)} of ${number(t.total)} free` : t.availability === 'sold_out' ? '' : 'none free just now'}</span></span>
          <strong class="end">{moneyText(t.price)}</strong>
        </li>
      ))}
    </ul>
  );
}

/** Fees, tax and cancellation in words. */
function Terms(): VNode | null {
  const text = shop.event.value && termsText(shop.event.value);
  return text ? <p class="small soft">{text}</p> : null;
}

/** For visitors who may only look. */
function Door(): VNode {
  const m = shop.me.value, e = shop.event.value, queue = `/queue/${shop.id}`;
  const state = m?.state;
  const soldOut = e?.status === 'sold_out' || (m?.room.closed_reason ?? m?.room.reason) === 'sold_out';
  const closed = m?.room.state === 'closed' || e?.room?.state === 'closed';
  return (
    <div class="stack">
      <h2>Tickets</h2>
      {state === 'waiting' && <Notice>You are in line{m?.ahead != null ? `, with ${number(m.ahead)} ahead of you` : ''}.</Notice>}
      {state === 'expired' && <Notice tone="warn">Your time in the shop has ended. You can queue again.</Notice>}
      {soldOut ? <Notice>This event is sold out.</Notice> : closed ? <Notice>The sale has ended.</Notice> : (
        <a class="button primary wide" href={queue}>
          {state === 'waiting' || state === 'lobby' ? 'Back to my place in line' : state === 'ready' ? 'It’s your turn: enter' : 'Join the queue'}
        </a>
      )}
      <Prices />
      <Terms />
      {e?.description && <p>{e.description}</p>}
      <p class="small soft">At most {e?.max_per_buyer} tickets per person. You choose your seats when your turn has come.</p>
    </div>
  );
}

function Lease(): VNode | null {
  const ends = shop.me.value?.lease_ends, left = useSeconds(ends);
  const asked = useRef(false);
  useEffect(() => {
    if (left === 0 && !asked.current) {
      asked.current = true;
      setTimeout(() => void shop.refreshMe(), 1200);
    }
  }, [left]);
  return ends ? <p class="lease small"><span class="soft">Your time in the shop</span><strong><Countdown until={ends} label="Time left in the shop" /></strong></p> : null;
}

function Held(): VNode {
  const h = shop.hold.value!, left = useSeconds(h.expires_at), head = useRef<HTMLHeadingElement>(null);
  useLayoutEffect(() => head.current?.focus(), [h.hold]);
  useEffect(() => {
    if (left === 0) void shop.refreshHold().then(() => {
      if (!shop.hold.value) shop.notice.value = { tone: 'warn', text: shop.ranOut };
    });
  }, [left === 0]);
  const off = shop.busy.value || h.pinned;
  return (
    <div class="stack">
      <h2 tabIndex={-1} ref={head}>These seats are yours for now</h2>
      <p class="lease"><span class="soft">Held for</span><strong class="big"><Countdown until={h.expires_at} label="Time left to check out" /></strong></p>
      <ul class="plain picked">{h.tickets.map((t) => (
        <li key={t.id}>
          <span>{ticketName(t)}<Notes text={notesText(t)} /></span>
          <span class="row"><span class="num">{moneyText(t.price)}</span>{h.tickets.length > 1 && !h.pinned && (
            <button class="drop" aria-label={`Drop ${ticketName(t)}`} aria-disabled={off} onClick={() => {
              if (off) return;
              head.current?.focus(); // the button goes with its seat
              void shop.change([], [t.ordinal]);
            }}>Drop</button>
          )}</span>
        </li>
      ))}</ul>
      {h.price ? <Breakdown price={h.price} /> : <p class="row between"><span>Total</span><strong class="big">{moneyText(h.total)}</strong></p>}
      <a class="button primary wide" href={`/checkout/${shop.id}`}>Check out</a>
      <div class="row between">
        {h.pinned ? <span class="small soft">Being paid for.</span> : <span class="small soft hint-text">More seats? Pick them on the map or in the list.</span>}
        <button class="quiet" disabled={off} onClick={() => void shop.giveBack()}>Give them back</button>
      </div>
    </div>
  );
}

/** What is to be known before one pays, below the name of the seat. */
const Notes = ({ text }: { text: string }): VNode | null => (text ? <span class="notes small">{text}</span> : null);

/** Kinds of tickets that a search for ordinary seats does not look at. */
const special = ['accessible', 'companion'];

const ticketName = (t: HeldTicket): string => (t.row || t.seat ? `${t.section}, row ${t.row}, seat ${t.seat}` : t.section);

/** Seats to be had instead of those that somebody else was quicker to take. */
function Offers(): VNode | null {
  const { instead, together } = shop.offered.value, does = shop.offer.value?.does;
  if (!does || !(instead.length || together.length)) return null;
  const verb = { choose: 'Choose', hold: 'Hold', change: 'Add' }[does];
  const list = (seats: number[][], all: boolean): VNode[] => seats.map((s) => (
    <li key={s.join()}><button disabled={shop.busy.value} onClick={() => shop.accept(s, all)} onMouseEnter={() => { shop.looked.value = s; }} onMouseLeave={() => { shop.looked.value = null; }} onFocus={() => { shop.looked.value = s; }} onBlur={() => { shop.looked.value = null; }}>{verb} {placesText(shop.plan.value!, s)}</button></li>
  ));
  return (
    <section class="offers stack" aria-label="Seats to be had instead">
      {!!instead.length && <><h2>Instead of {instead[0]!.length > 1 ? 'those seats' : 'that seat'}</h2><ul class="plain">{list(instead, false)}</ul></>}
      {!!together.length && <><h2>{instead.length ? 'Or a' : 'A'}ll together</h2><ul class="plain">{list(together, true)}</ul></>}
    </section>
  );
}

/** Codes open tickets that are kept for some people. */
function Code(): VNode {
  const code = useSignal(''), own = shop.channels.value;
  return (
    <details class="code">
      <summary>I have an access code</summary>
      <form class="row" onSubmit={(e) => {
        e.preventDefault();
        void shop.enter(code.value.trim()).then((ok) => { if (ok) code.value = ''; });
      }}>
        <label class="field grow">Code<input required maxLength={64} autocomplete="off" autocapitalize="characters" spellcheck={false} value={code.value} onInput={(e) => { code.value = e.currentTarget.value; }} /></label>
        <button>Use it</button>
      </form>
      {!!own.length && <p class="small soft">Open to you: {own.map((c) => c.name).join(', ')}.</p>}
    </details>
  );
}

const areaName = (a: AreaChoice): string => `${plural(a.n, 'ticket')}, ${shop.plan.value!.sections[a.section]!.name}${a.channel ? `, ${shop.channels.value[a.channel - 1]?.name}` : ''}`;

function Choose(): VNode {
  const p = shop.plan.value, list = [...shop.chosen.value], n = shop.count.value, head = useRef<HTMLHeadingElement>(null);
  const most = shop.limit(), e = shop.event.value;
  /** Whether more than the prices will have to be paid. */
  const extra = !!(e?.fees?.per_ticket.amount || e?.fees?.per_order.amount || (e?.tax && !e.tax.included));
  const line = (key: string, name: string, price: Money, remove: () => void, more = ''): VNode => (
    <li key={key}>
      <span>{name}<Notes text={more} /></span>
      <span class="row"><span class="num">{moneyText(price)}</span><button aria-label={`Remove ${name}`} onClick={() => { head.current?.focus(); remove(); }}>×</button></span>
    </li>
  );
  return (
    <div class="stack">
      <h2 tabIndex={-1} ref={head}>{n ? `Your choice (${n})` : 'Choose your seats'}</h2>
      {n ? (
        <>
          <ul class="plain picked">
            {list.map((i) => line(`${i}`, seatName(p!, i), tierOf(i).price, () => shop.toggle(i), notes(i)))}
            {shop.areas.value.map((a) => {
              const price = p!.tiers[p!.sections[a.section]!.tier ?? 0]!.price;
              return line(`${a.section}:${a.channel}`, areaName(a), { ...price, amount: price.amount * a.n }, () => shop.setQuantity(a.section, a.channel, 0), entrance(a.section));
            })}
          </ul>
          <p class="row between"><span>{extra ? 'Tickets' : 'Total'}</span><strong class="big">{shop.total.value && moneyText(shop.total.value)}</strong></p>
          <Terms />
          <button class="primary wide" disabled={shop.busy.value} onClick={() => void shop.takeChosen()}>
            {shop.busy.value ? 'One moment …' : `Hold ${plural(n, 'ticket')}`}
          </button>
        </>
      ) : <p class="soft">Pick them on the map or from the list, at most {most}. Or let us find the best free seats together:</p>}
      <Best />
    </div>
  );
}

/** Best available: as many as wanted, next to each other. */
function Best(): VNode {
  const p = shop.plan.value, most = shop.limit();
  const quantity = useSignal(Math.min(2, most)), tier = useSignal(''), section = useSignal(''), channel = useSignal(''), accessible = useSignal(false);
  const forWho = shop.accessible.value;
  const tiers = (p?.tiers ?? []).filter((t, i) => (accessible.value ? forWho.has(i) : !special.includes(t.type ?? '')));
  const pick = (name: string, s: typeof tier, any: string, options: [string, string][]): VNode => (
    <label class="field">{name}
      <select value={s.value} onChange={(e) => { s.value = e.currentTarget.value; }}>
        <option value="">{any}</option>
        {options.map(([v, text]) => <option key={v} value={v}>{text}</option>)}
      </select>
    </label>
  );
  return (
    <form class="best" onSubmit={(ev) => {
      ev.preventDefault();
      void shop.findBest({
        quantity: quantity.value, ...(tier.value && { tier: tier.value }), ...(section.value && { section: section.value }),
        ...(channel.value && { channel: channel.value }), ...(accessible.value && { accessible: true }),
      });
    }}>
      <label class="field">Tickets
        <select value={quantity.value} onChange={(e) => { quantity.value = +e.currentTarget.value; }}>
          {Array.from({ length: most }, (_, k) => <option key={k} value={k + 1}>{k + 1}</option>)}
        </select>
      </label>
      {pick('Price', tier, 'Any', tiers.map((t) => [t.id, `${t.name} ${moneyText(t.price)}`]))}
      {p && p.sections.length > 1 && <div class="whole">{pick('Where', section, 'Anywhere', p.sections.map((x) => [x.id, x.name]))}</div>}
      {!!shop.channels.value.length && <div class="whole">{pick('From', channel, 'General sale', shop.channels.value.map((c) => [c.id, c.name]))}</div>}
      {!!forWho.size && (
        <label class="check"><input type="checkbox" checked={accessible.value} onChange={(e) => { accessible.value = e.currentTarget.checked; tier.value = ''; }} />Accessible seat with companions</label>
      )}
      <button disabled={shop.busy.value} class={shop.count.value ? '' : 'primary'}>Find the best seats</button>
      {shop.apart.value && <button type="button" disabled={shop.busy.value} onClick={() => void shop.take(shop.apart.value!)}>Find them in separate groups</button>}
    </form>
  );
}

function Page(): VNode {
  const p = shop.plan.value, [tone, text] = linkText[shop.link.value], n = shop.hold.value?.tickets.length ?? shop.count.value;
  return (
    <>
      <Hero />
      <Dates />
      <div class="shop">
        <section class="stack" aria-label="Seats">
          <div class="row between">
            <div class="switch" role="group" aria-label="Choose seats on">
              <button aria-pressed={!inList.value} onClick={() => { inList.value = false; }}>Map</button>
              <button aria-pressed={inList.value} onClick={() => { inList.value = true; }}>List</button>
            </div>
            {text && <Chip tone={tone}>{text}</Chip>}
          </div>
          {p ? (inList.value ? <ListView /> : <MapView />) : <div class="mapbox card panel soft">Loading the plan …</div>}
          {!inList.value && <Legend />}
        </section>
        <div class="right">
          <div class="say">
            <div role="status">{shop.notice.value && <Notice tone={shop.notice.value.tone}>{shop.notice.value.text}</Notice>}</div>
            {!!n && <a class="button jump" href="#tickets">{shop.hold.value ? 'Your tickets' : 'Your choice'} ({n})</a>}
          </div>
          <aside id="tickets" class="side card panel stack" aria-label="Your tickets">
            {shop.shopping.value && <Lease />}
            <Offers />
            {!shop.shopping.value ? <Door /> : shop.hold.value ? <Held /> : <Choose />}
            {shop.me.value && ['lobby', 'waiting', 'ready', 'shopping'].includes(shop.me.value.state) && <Code />}
          </aside>
        </div>
      </div>
    </>
  );
}

mount(<Page />);
void shop.start();
