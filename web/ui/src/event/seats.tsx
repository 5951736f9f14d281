import './seats.css';
import { type ReadonlySignal, type Signal, effect, signal, useSignal } from '@preact/signals';
import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { Channel } from '../api';
import type { FeedState } from '../feed';
import { kinds, marksText } from '../map/marks';
import { type Plan, seatName } from '../map/plan';
import { SeatMap } from '../map/seatmap';
import { Signs } from '../map/sign';
import { blocked } from '../map/status';
import { moneyText } from '../money';
import { Chip, number } from '../page';
import { openIn } from './choice';

/** What the map and the list show, and what a choice on them does. */
export interface Picker {
  readonly plan: Signal<Plan | null>;
  /** One byte a ticket, changed in place; `version` says that it changed. */
  readonly status: Uint8Array;
  readonly version: Signal<number>;
  /** Seats changed by the last frame; null: all of them. */
  readonly lastChange: number[] | null;
  readonly link: Signal<FeedState>;
  /** Whether seats may be chosen at all, and whether they cannot just now. */
  readonly shopping: ReadonlySignal<boolean>;
  readonly pinned: ReadonlySignal<boolean>;
  readonly chosen: ReadonlySignal<ReadonlySet<number>>;
  /** Tickets that are held already. */
  readonly mine: ReadonlySignal<ReadonlySet<number>>;
  /** How many tickets of which section are chosen by number. */
  readonly bySection: ReadonlySignal<Map<number, number>>;
  readonly channels: ReadonlySignal<Channel[]>;
  /** Which of the channels each ticket is kept for. */
  readonly kept: ReadonlySignal<Uint8Array>;
  /** Seats to point out, and to bring into sight once. */
  readonly hints: ReadonlySignal<ReadonlySet<number>>;
  readonly spotlight: Signal<number[]>;
  readonly tiersLeft: ReadonlySignal<{ free: number; word: string }[]>;
  /** Whether there are tickets that this visitor cannot have. */
  readonly shut: ReadonlySignal<boolean>;
  readonly isFree: (i: number) => boolean;
  readonly channelOf: (i: number) => Channel | undefined;
  readonly freeIn: (first: number, n: number) => number;
  readonly limit: () => number;
  /** A seat was clicked on the map, and in the list. */
  readonly pick: (i: number) => void;
  readonly toggle: (i: number) => void;
  readonly quantity: (section: number, channel: number) => number;
  readonly setQuantity: (section: number, channel: number, n: number) => void;
}

const muted = signal<ReadonlySet<number>>(new Set());
/** Marks that seats must have to be shown as free. */
const only = signal(0);
const inList = signal(false);

/** What is special about a seat, in words. */
const marks = (s: Picker, i: number): string => marksText(s.plan.value!.marks[i]!);
/** That, and through which door to come. */
export const notes = (s: Picker, i: number): string => [marks(s, i), entrance(s, s.plan.value!.section[i]!)].filter(Boolean).join(' · ');
export const entrance = (s: Picker, section: number): string => {
  const name = s.plan.value!.sections[section]?.entrance;
  return name ? `entrance: ${name}` : '';
};
/** That a seat is special, before its price. */
const kind = (s: Picker, i: number): string => (marks(s, i) ? `${marks(s, i)}, ` : '');
export const tierOf = (s: Picker, i: number) => s.plan.value!.tiers[s.plan.value!.tier[i]!]!;

/** The seats, on the map or as a list, with what their colours and shapes mean. */
export function Seats({ s }: { s: Picker }): VNode {
  const [tone, text] = linkText[s.link.value];
  return (
    <section class="stack" aria-label="Seats">
      <div class="row between">
        <div class="switch" role="group" aria-label="Choose seats on">
          <button type="button" aria-pressed={!inList.value} onClick={() => { inList.value = false; }}>Map</button>
          <button type="button" aria-pressed={inList.value} onClick={() => { inList.value = true; }}>List</button>
        </div>
        {text && <Chip tone={tone}>{text}</Chip>}
      </div>
      {s.plan.value ? (inList.value ? <ListView s={s} /> : <MapView s={s} />) : <div class="mapbox card panel soft">Loading the plan …</div>}
      {!inList.value && <Legend s={s} />}
    </section>
  );
}

const linkText = { live: ['good', 'Live'], connecting: ['', 'Connecting'], reconnecting: ['warn', 'Reconnecting'], polling: ['warn', 'Updated every few seconds'], stopped: ['', ''] } as const;

const leftText = (t: { free: number; word: string } | undefined): string =>
  t?.word === 'sold out' ? t.word : `${number(t?.free ?? 0)} free${t?.word && t.free ? `, ${t.word}` : ''}`;

/** Price categories, which filter the map, and what the shapes mean. */
function Legend({ s }: { s: Picker }): VNode | null {
  const p = s.plan.value;
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
            <span class="swatch" ref={(e) => { if (e) e.style.background = t.color; }} />{t.name} {moneyText(t.price)} <span class="soft">{leftText(s.tiersLeft.value[i])}</span>
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
        {s.shut.value && <span><svg viewBox="0 0 16 16" aria-hidden="true"><path d="M4 8h8" stroke="var(--soft)" stroke-width="1.8" /></svg>not on general sale</span>}
        {!!s.channels.value.length && <span><svg viewBox="0 0 16 16" aria-hidden="true"><path d="M8 0l8 8-8 8-8-8z" fill="var(--accent)" /></svg>{s.channels.value.map((c) => c.name).join(', ')}</span>}
      </div>
    </div>
  );
}

function MapView({ s }: { s: Picker }): VNode {
  const canvas = useRef<HTMLCanvasElement>(null), map = useRef<SeatMap | null>(null);
  const tip = useSignal<{ i: number; x: number; y: number } | null>(null);
  useEffect(() => {
    const p = s.plan.value!;
    const m = (map.current = new SeatMap(canvas.current!, p, s.status.length ? s.status : new Uint8Array(p.total), {
      pick: s.pick,
      pickArea: (section) => {
        if (p.sections[section]!.kind === 'ga' && s.shopping.value) s.setQuantity(section, 0, s.quantity(section, 0) + 1);
      },
      point: (i, x, y) => { tip.value = i < 0 ? null : { i, x, y }; },
    }));
    let known = s.status;
    const stops = [
      effect(() => {
        void s.version.value;
        if (known !== s.status || s.lastChange === null) m.setStatus((known = s.status));
        else m.changed(s.lastChange);
      }),
      effect(() => m.setOwn(s.chosen.value, s.mine.value, s.bySection.value)),
      effect(() => m.setKept(s.kept.value)),
      effect(() => m.hint(s.hints.value)),
      effect(() => m.mute(muted.value, only.value)),
      effect(() => {
        const seats = s.spotlight.value;
        if (seats.length) {
          m.show(seats);
          s.spotlight.value = [];
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
      <div role="status">{t && <Tip key={t.i} s={s} {...t} />}</div>
    </div>
  );
}

function Tip({ s, i, x, y }: { s: Picker; i: number; x: number; y: number }): VNode {
  void s.version.value;
  const own = s.chosen.value.has(i) || s.mine.value.has(i);
  const state = own ? 'yours' : s.isFree(i) ? s.channelOf(i)?.name ?? 'free' : (['free', 'in someone’s basket', 'sold', 'not on general sale'] as const)[s.status[i] as 0 | 1 | 2 | 3];
  const place = (e: HTMLElement | null): void => {
    const box = e?.closest<HTMLElement>('.mapbox');
    if (!e || !box) return;
    const left = Math.max(6, Math.min(x - e.offsetWidth / 2, box.clientWidth - e.offsetWidth - 6));
    const top = y - e.offsetHeight - 18 > 4 ? y - e.offsetHeight - 18 : y + 22;
    e.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  };
  return <div class="tip" ref={place}>{seatName(s.plan.value!, i)}<br />{tierOf(s, i).name} · {moneyText(tierOf(s, i).price)} · {state}{notes(s, i) && <><br />{notes(s, i)}</>}</div>;
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

/** The same seats as on the map: section, then row, then seat. */
function ListView({ s }: { s: Picker }): VNode {
  const p = s.plan.value!;
  const section = useSignal(0), open = useSignal(-1);
  void s.version.value;
  const area = p.sections[section.value]!;
  const canChoose = s.shopping.value && !s.pinned.value;
  /** General sale, and one's own channels that have tickets in the area. */
  const from = area.kind === 'ga' ? [0, ...s.channels.value.map((_, k) => k + 1)].filter((c) => !c || s.quantity(section.value, c) || openIn(s.status, s.kept.value, area.first, area.count, c)) : [];
  return (
    <div class="card panel stack seatlist">
      <label class="field">Section
        <select value={section.value} onChange={(e) => { section.value = +e.currentTarget.value; open.value = -1; }}>
          {p.sections.map((x, i) => <option key={x.id} value={i}>{x.name} ({number(s.freeIn(x.first, x.count))} free)</option>)}
        </select>
      </label>
      {area.entrance && <p class="small soft">Entrance: {area.entrance}</p>}
      {area.kind === 'ga' ? (
        from.map((c) => (
          <div class="row between" key={c}>
            <span>{c ? `${s.channels.value[c - 1]!.name}: ` : ''}{moneyText(p.tiers[area.tier ?? 0]!.price)} each, free choice of place</span>
            {canChoose && <Stepper label={`Tickets for ${area.name}${c ? `, ${s.channels.value[c - 1]!.name}` : ''}`} value={s.quantity(section.value, c)} max={s.limit()} set={(n) => s.setQuantity(section.value, c, n)} />}
          </div>
        ))
      ) : (
        <div>
          {p.rows.map((r, ri) => r.section === section.value && (
            <div class="seatrow" key={ri}>
              <button aria-expanded={open.value === ri} onClick={() => { open.value = open.value === ri ? -1 : ri; }}>
                <span>Row {r.name}</span><span class="soft small">{number(s.freeIn(r.first, r.seats.length))} free</span>
              </button>
              {open.value === ri && (
                <div class="seats">
                  {r.seats.map((seat, k) => {
                    const i = r.first + k, own = s.chosen.value.has(i), held = s.mine.value.has(i), free = s.isFree(i);
                    const channel = s.channelOf(i)?.name, why = held ? ', yours' : free || own ? `${channel ? `, ${channel}` : ''}${s.hints.value.has(i) ? ', pointed out' : ''}` : s.status[i] === blocked ? ', not on general sale' : ', taken';
                    return (
                      <button key={i} class={`${channel ? 'kept' : ''} ${s.hints.value.has(i) ? 'hint' : ''}`} aria-pressed={own || held} disabled={!canChoose || (!free && !own && !held)} onClick={() => s.toggle(i)}
                        ref={(e) => { if (e) e.style.borderColor = free || own ? tierOf(s, i).color : ''; }}
                        aria-label={`Row ${r.name}, seat ${seat}, ${kind(s, i)}${moneyText(tierOf(s, i).price)}${why}`}>{seat}<Signs bits={p.marks[i]!} /></button>
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
