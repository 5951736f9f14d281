import { signal, useSignal } from '@preact/signals';
import type { ComponentChildren, VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { AdminRoom, Event, OrderStatus } from '../api';
import { notesText } from '../map/marks';
import { Chip, dateText, eventDate, problemText } from '../page';
import { act, notice } from './act';
import { type Due, type PaymentStatus, allEvents, look } from './calls';

/** Every event there is, drafts included; null while they are not read. */
export const events = signal<Event[] | null>(null);
/** The event that the sections of the console are about; "" for all. */
export const event = signal('');

export type View = 'room' | 'orders' | 'money' | 'event' | 'messages' | 'door' | 'audit';
export const view = signal<View>('room');
/** The order that is looked at; "" for the list. */
export const opened = signal('');
export function openOrder(order: string): void {
  view.value = 'orders';
  opened.value = order;
  notice.value = null;
}

/** Says what went wrong; what was on the page stays. */
export const fail = (e: unknown): void => { notice.value = { tone: 'bad', text: problemText(e) }; };

export async function readEvents(): Promise<void> {
  try {
    const list: Event[] = [];
    let cursor: string | null | undefined;
    do {
      const page = await allEvents(cursor ?? undefined);
      list.push(...page.events);
      cursor = page.next_cursor;
    } while (cursor && list.length < 2000);
    events.value = list;
  } catch (e) {
    fail(e);
  }
}
export const eventName = (id: string): string => events.value?.find((e) => e.id === id)?.name ?? id;

/** When the event of a room is, if other rooms have its name: the dates of a series do. */
export function roomDate(r: AdminRoom, rooms: readonly AdminRoom[]): string {
  const e = rooms.some((x) => x.name === r.name && x.event !== r.event) && events.value?.find((x) => x.id === r.event);
  return e ? eventDate(e, { dateStyle: 'medium', timeStyle: 'short' }) : '';
}

/** Chooses the event; with `all`, there need not be one. */
export function EventField({ all }: { all?: boolean }): VNode {
  useEffect(() => { if (!events.value) void readEvents(); }, []);
  useEffect(() => { if (!all && !event.value && events.value?.[0]) event.value = events.value[0].id; }, [events.value]);
  return (
    <label class="field">Event
      <select value={event.value} onChange={(e) => { event.value = e.currentTarget.value; }}>
        {(all || !events.value?.length) && <option value="">{all ? 'All events' : 'No events yet'}</option>}
        {events.value?.map((e) => <option key={e.id} value={e.id}>{e.name}, {dateText(e.starts_at, { dateStyle: 'medium', timeZone: e.timezone })}</option>)}
      </select>
    </label>
  );
}

/** The heading of a section, which takes the focus when the section is opened. */
export function Title({ children }: { children: ComponentChildren }): VNode {
  const h = useRef<HTMLHeadingElement>(null);
  useEffect(() => h.current?.focus(), []);
  return <h1 ref={h} tabIndex={-1}>{children}</h1>;
}

export const when = (t: string | null | undefined): string => dateText(t, { dateStyle: 'medium', timeStyle: 'medium' });
export const words = (s: string): string => s.replace(/[_.]/g, ' ');
export interface Place { section: string; row: string; seat: string; attributes?: string[]; entrance?: string; type?: string }
export const placeOf = (t: Place): string => [t.section, t.row && `row ${t.row}`, t.seat && `seat ${t.seat}`].filter(Boolean).join(', ');
/** The place with what is said of it: "Stalls, row 1, seat 3 (aisle · entrance: Door B)". */
export const seatOf = (t: Place): string => {
  const notes = notesText(t);
  return placeOf(t) + (notes && ` (${notes})`);
};

const tones: Partial<Record<OrderStatus | PaymentStatus | string, 'good' | 'warn' | 'bad'>> = {
  paid: 'good', fulfilled: 'good', captured: 'good', done: 'good', delivered: 'good', sent: 'good', active: 'good',
  payment_unknown: 'warn', partially_refunded: 'warn', requires_action: 'warn', voiding: 'warn', pending: 'warn', awaiting_payment: 'warn', sending: 'warn', authorised: 'warn',
  declined: 'bad', failed: 'bad', expired: 'bad', off: 'bad',
};
export const Status = ({ of }: { of: string }): VNode => <Chip tone={tones[of] ?? ''}>{words(of)}</Chip>;

/** Why something has not happened yet. */
export function Trouble({ of }: { of: Due }): VNode | null {
  if (!of.failures && !of.last_error) return null;
  return <div class="small"><strong class="bad-text">Failed {of.failures} {of.failures === 1 ? 'time' : 'times'}</strong>{of.last_error && <>: {of.last_error}</>}{of.next_try_at && <div class="soft">Tried again {when(of.next_try_at)}</div>}</div>;
}

/** A table that scrolls by itself on a narrow screen. `empty` is said when there is nothing in it. */
export function Table({ name, heads, rows, empty }: { name: string; heads: ComponentChildren[]; rows: VNode[] | null; empty: string }): VNode {
  if (rows && !rows.length) return <p class="soft">{empty}</p>;
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label={name} aria-busy={!rows}>
      <table>
        <thead><tr>{heads.map((h, i) => (h ? <th key={i} scope="col">{h}</th> : <td key={i} />))}</tr></thead>
        <tbody>{rows ?? <tr><td colSpan={heads.length} class="soft">Reading …</td></tr>}</tbody>
      </table>
    </div>
  );
}

/** A list that is read page after page. The latest question counts, whatever order the answers come in. */
export function useList<T>(read: (cursor?: string) => Promise<[T[], string | null]>): { items: T[] | null; more: string | null; load: (more?: boolean) => Promise<void> } {
  const items = useSignal<T[] | null>(null), cursor = useSignal<string | null>(null), turn = useRef(0);
  const load = async (more = false): Promise<void> => {
    const mine = ++turn.current;
    try {
      const [page, next] = await read((more && cursor.value) || undefined);
      if (mine !== turn.current) return;
      items.value = more ? [...(items.value ?? []), ...page] : page;
      cursor.value = next;
    } catch (e) {
      if (mine === turn.current) fail(e);
    }
  };
  return { items: items.value, more: cursor.value, load };
}

/** Reads the next page of a list. */
export const More = ({ list, what }: { list: { more: string | null; load: (more?: boolean) => Promise<void> }; what: string }): VNode | null =>
  (list.more ? <p><button onClick={() => void list.load(true)}>Show more {what}</button></p> : null);

/** Does now what is due about a payment, or compares one that is `over`; whatever came of it, reads again. */
export function LookButton({ payment, over, done }: { payment: string; over?: boolean; done: () => Promise<void> }): VNode {
  const busy = useSignal(false), text = busy.value ? 'Trying …' : over ? 'Compare now' : 'Try now';
  return (
    <button aria-disabled={busy.value} aria-label={`${text}: payment ${payment.slice(-6)}`} onClick={() => {
      if (busy.value) return;
      busy.value = true;
      void act('It was done, and compared with the gateway’s books.', () => look(payment)).then(done).finally(() => { busy.value = false; });
    }}>{text}</button>
  );
}

/** After what had the focus is gone, the heading has it. */
export const refocus = (): void => {
  requestAnimationFrame(() => { if (!document.activeElement || document.activeElement === document.body) document.querySelector<HTMLElement>('h1')?.focus(); });
};
