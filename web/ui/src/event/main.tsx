import './event.css';
import { useSignal } from '@preact/signals';
import type { VNode } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { type HeldTicket, type Money, calendarOf } from '../api';
import { notesText } from '../map/marks';
import { seatName } from '../map/plan';
import { moneyText } from '../money';
import { Breakdown, termsText } from '../price';
import { Picture } from '../picture';
import { Chip, Countdown, Notice, eventDate, mount, number, plural, useSeconds } from '../page';
import { type AreaChoice, placesText, words } from './choice';
import { dateState } from './dates';
import { Seats, entrance, notes, tierOf } from './seats';
import * as shop from './shop';

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
            {list.map((i) => line(`${i}`, seatName(p!, i), tierOf(shop, i).price, () => shop.toggle(i), notes(shop, i)))}
            {shop.areas.value.map((a) => {
              const price = p!.tiers[p!.sections[a.section]!.tier ?? 0]!.price;
              return line(`${a.section}:${a.channel}`, areaName(a), { ...price, amount: price.amount * a.n }, () => shop.setQuantity(a.section, a.channel, 0), entrance(shop, a.section));
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
  const n = shop.hold.value?.tickets.length ?? shop.count.value;
  return (
    <>
      <Hero />
      <Dates />
      <div class="shop">
        <Seats s={shop} />
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
