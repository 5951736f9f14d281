import './ticket.css';
import { computed, effect, signal } from '@preact/signals';
import type { VNode } from 'preact';
import { type Admission, type TicketState, type Transfer, Problem, getAdmission, transferAdmission } from '../api';
import { observe } from '../clock';
import { Notice, dateText, mount, problemText, serverSecond } from '../page';
import { bitsOf, marksText } from '../map/marks';
import { pathId, store } from '../shell';
import { QR } from './code';
import { save } from './download';
import { maker } from './rotate';
import { PassOn, PassedOn } from './transfer';

const id = pathId(), place = `onsale:ticket:${id}`;
const inLink = new URLSearchParams(location.hash.slice(1)).get('t');
if (inLink) store.set(place, inLink, true);
const token = inLink ?? store.get(place, true);

const ticket = signal<Admission | null>(null);
const failure = signal('');
const passed = signal<Transfer | null>(null);
/** What the QR code says: null while it is not known, '' where it cannot be made. */
const shown = signal<string | null>(null);

let make: Awaited<ReturnType<typeof maker>> = null;
let made = '';

/** Everything is on the page once this has answered: what comes later only tells of changes. */
async function look(): Promise<void> {
  try {
    const t = await getAdmission(id, token);
    observe(t.as_of);
    failure.value = '';
    const secret = t.rotating?.secret ?? '';
    if (secret !== made || !ticket.value) {
      make = secret ? await maker(secret, t.rotating!.digits) : null;
      made = secret;
    }
    ticket.value = t;
    if (t.valid) setTimeout(() => void look(), 20_000);
  } catch (e) {
    const down = e instanceof Problem && (e.status === 0 || e.status >= 500 || e.status === 429);
    if (!ticket.value || !down) failure.value = problemText(e); // a ticket that is shown needs no connection
    if (down) setTimeout(() => void look(), 10_000);
  }
}

/** The step whose code is shown, 0 for codes that do not rotate. */
const step = computed(() => {
  const r = ticket.value?.rotating;
  return r ? Math.floor(serverSecond.value / r.step_s) : 0;
});
effect(() => {
  const t = ticket.value, n = step.value;
  if (!t?.qr_text) shown.value = null;
  else if (!t.rotating) shown.value = t.qr_text;
  else if (!make) shown.value = '';
  else void make(n).then((digits) => { if (step.peek() === n) shown.value = `${t.qr_text}.${digits}`; });
});

/** How much of its time the code has left. It ticks for the eye alone. */
function Ring({ seconds }: { seconds: number }): VNode {
  const left = seconds - (serverSecond.value % seconds);
  return (
    <svg class="ring" viewBox="0 0 36 36" aria-hidden="true">
      <circle cx="18" cy="18" r="15" pathLength="1" class="track" />
      <circle cx="18" cy="18" r="15" pathLength="1" class="left" stroke-dasharray="1" stroke-dashoffset={1 - left / seconds} />
      <text x="18" y="22.5" text-anchor="middle">{left}</text>
    </svg>
  );
}

const ends: Record<Exclude<TicketState, 'valid'>, (t: Admission) => string> = {
  scanned: (t) => `Used at the door: ${dateText(t.scanned_at, { dateStyle: 'medium', timeStyle: 'short', timeZone: t.event.timezone })}. It lets nobody else in.`,
  transferred: (t) => `Passed on to ${t.holder.name}. The code that was here opens nothing.`,
  refunded: () => 'Refunded. This ticket opens nothing any more.',
  cancelled: () => 'Cancelled. This ticket opens nothing any more.',
  exchanged: () => 'Exchanged for another ticket. This one opens nothing any more.',
};

function Code({ t }: { t: Admission }): VNode {
  const text = shown.value;
  return (
    <div class="code">
      {text ? <QR text={text} /> : <div class="qr wait" />}
      {text === '' && <Notice tone="warn">This browser cannot make the codes of this event over an unsafe connection. Please open the link with https, or ask at the door.</Notice>}
      {t.rotating && text && <p class="row changing"><Ring seconds={t.rotating.step_s} /><span>The code changes by itself, without a connection too. A picture of it opens nothing.</span></p>}
      <code class="spell">{t.code}</code>
    </div>
  );
}

function Page(): VNode {
  const t = ticket.value;
  if (!t) {
    return failure.value ? (
      <div class="stack">
        <h1>Your ticket</h1>
        <Notice tone="bad" alert>{failure.value}</Notice>
        <p>A ticket opens with the link that its holder was given. Please use that link.</p>
      </div>
    ) : <p class="soft">Loading your ticket …</p>;
  }
  const name = [t.section, t.row && `row ${t.row}`, t.seat && `seat ${t.seat}`].filter(Boolean).join(', ');
  return (
    <article class="card pass">
      <header>
        <h1>{t.event.name}</h1>
        <p>{dateText(t.event.starts_at, { dateStyle: 'full', timeStyle: 'short', timeZone: t.event.timezone })}</p>
        <p class="soft">{[t.event.venue.name, t.event.venue.address, t.event.venue.city].filter(Boolean).join(', ')}</p>
      </header>
      {failure.value && <Notice tone="warn" alert>{failure.value}</Notice>}
      {t.state !== 'valid' && <Notice tone={t.state === 'scanned' ? 'good' : 'warn'}><p role="status">{ends[t.state](t)}</p></Notice>}
      {t.state === 'valid' && t.code && <Code t={t} />}
      <dl class="facts">
        <div><dt>Section</dt><dd>{t.section}</dd></div>
        {t.row && <div><dt>Row</dt><dd>{t.row}</dd></div>}
        {t.seat && <div><dt>Seat</dt><dd>{t.seat}</dd></div>}
        <div><dt>Category</dt><dd>{t.tier}</dd></div>
        {t.entrance && <div><dt>Entrance</dt><dd>{t.entrance}</dd></div>}
        {!!t.attributes?.length && <div><dt>Please note</dt><dd class="mark">{marksText(bitsOf(t.attributes))}</dd></div>}
        <div><dt>Name</dt><dd>{t.holder.name}</dd></div>
      </dl>
      {passed.value && <PassedOn to={passed.value} />}
      {t.state === 'valid' && (
        <div class="row noprint acts">
          <button onClick={() => void save(t.pdf, token, 'ticket.pdf').catch((e: unknown) => { failure.value = problemText(e); })}>PDF</button>
          <PassOn name={name} level="h2" give={(to) => transferAdmission(id, to, token)} done={(to) => { passed.value = to; void look(); }} />
        </div>
      )}
    </article>
  );
}

/** A phone that is shown at the door must not go dark. */
function awake(): void {
  if (document.visibilityState === 'visible' && 'wakeLock' in navigator) void navigator.wakeLock.request('screen').catch(() => { /* it may */ });
}
document.addEventListener('visibilitychange', awake);
awake();

mount(<Page />);
void look();
