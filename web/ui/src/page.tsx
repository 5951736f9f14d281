import './style/app.css';
import { computed, signal } from '@preact/signals';
import { type ComponentChildren, type VNode, render } from 'preact';
import { type Event, Problem } from './api';
import { clockText, now } from './clock';
import { locale } from './locale';
import { hueOf } from './shell';

/** Ticks once a second; what reads it is drawn again. */
const second = signal(Date.now());
setInterval(() => { second.value = Date.now(); }, 1000);

/** The server's time in whole seconds since 1970, as a signal. */
export const serverSecond = computed(() => (second.value, Math.floor(now() / 1000)));

/** Puts the page in place of the server's essentials. */
export function mount(page: VNode, title?: string): void {
  const root = document.getElementById('essentials')!;
  root.replaceChildren();
  render(page, root);
  if (title) document.title = title;
}

/** Seconds until `t` by the server's clock, never below 0; draws again every second. */
export function useSeconds(t: string | null | undefined): number | null {
  const at = t ? Date.parse(t) : NaN;
  void serverSecond.value;
  return Number.isNaN(at) ? null : Math.max(0, Math.ceil((at - now()) / 1000));
}

/** A ticking clock that screen readers are not told about every second. */
export function Countdown({ until, label }: { until: string; label?: string }): VNode {
  return <span class="num" role="timer" aria-label={label}>{clockText(useSeconds(until) ?? 0)}</span>;
}

const dates = new Map<string, Intl.DateTimeFormat>();
/** An instant in the reader's own time zone. */
export function dateText(t: string | null | undefined, style: Intl.DateTimeFormatOptions = { dateStyle: 'full', timeStyle: 'short' }): string {
  if (!t) return '';
  const k = JSON.stringify(style);
  let f = dates.get(k);
  if (!f) dates.set(k, (f = new Intl.DateTimeFormat(locale(), style)));
  return f.format(new Date(t));
}

/** When the event is, by the clocks of its own place. */
export const eventDate = (e: Pick<Event, 'starts_at' | 'timezone'>, style?: Intl.DateTimeFormatOptions, at: string | null | undefined = e.starts_at): string =>
  dateText(at, { ...(style ?? { dateStyle: 'full', timeStyle: 'short' }), timeZone: e.timezone });

export const number = (n: number): string => n.toLocaleString(locale());
export const plural = (n: number, one: string, many = `${one}s`): string => `${number(n)} ${n === 1 ? one : many}`;

/** With a capital letter and a full stop. */
export const sentence = (s: string): string => `${s.charAt(0).toLocaleUpperCase()}${s.slice(1)}${/[.?!]$/.test(s) ? '' : '.'}`;

/** What went wrong, in the server's words. */
export function problemText(e: unknown): string {
  if (e instanceof Problem) return e.detail && e.detail !== e.title ? `${e.title}. ${sentence(e.detail)}` : e.title;
  return e instanceof Error ? e.message : String(e);
}

type Tone = 'good' | 'warn' | 'bad' | '';
/** A message in its place on the page. `alert` interrupts a screen reader, everything else waits its turn. */
export function Notice({ tone = '', alert, children }: { tone?: Tone; alert?: boolean; children: ComponentChildren }): VNode {
  return <div class={`notice ${tone}`} role={alert ? 'alert' : undefined}>{children}</div>;
}

export function Chip({ tone = '', children }: { tone?: Tone; children: ComponentChildren }): VNode {
  return <span class={`chip ${tone}`}>{children}</span>;
}

/** Art of an event: a coloured ground made from its id. */
export const Art = ({ id, class: more = '' }: { id: string; class?: string }): VNode => (
  <div class={`art ${more}`} aria-hidden="true" ref={(e) => e?.style.setProperty('--hue', String(hueOf(id)))} />
);

/** A random key for one attempt at something that must happen once. */
export const newKey = (): string =>
  crypto.randomUUID ? crypto.randomUUID() : Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('');
