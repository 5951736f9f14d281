import '../style/tokens.css';
import './queue.css';
import { type Me, type Event, type Room, Problem, claim, getMe, join, leave } from '../api';
import { clockText, observe, secondsUntil } from '../clock';
import { backoff, Feed, type FeedState } from '../feed';
import { pageData, pathId, store } from '../shell';
import { type Memory, type Phase, over, phaseOf, phaseOfRoom, progress, remember } from './line';
import * as T from './texts';

const id = pathId();
const data = pageData<{ event: Event | null; room: Room | null; now: string }>();
const $ = <E extends HTMLElement = HTMLElement>(n: string): E => document.getElementById(n) as E;
const key = (k: string): string => `onsale:${k}:${id}`;
const shop = `/events/${id}`;

// Language

let lang = T.languages.indexOf(
  [store.get('onsale:lang'), ...navigator.languages].map((l) => (l ?? '').slice(0, 2) as T.Language).find((l) => T.languages.includes(l)) ?? 'en',
);
const t = (text: T.Text, value: string | number = ''): string => text[lang]!.replace('{0}', String(value));
const number = (n: number): string => n.toLocaleString(T.languages[lang]);
const date = (at: string | null | undefined, style: Intl.DateTimeFormatOptions = { dateStyle: 'medium', timeStyle: 'short' }): string =>
  at ? new Intl.DateTimeFormat(T.languages[lang], style).format(new Date(at)) : '';

// State

let me: Me | undefined;
let room = data.room ?? undefined;
/** The failure shown instead of a phase, while there is one. */
let trouble: { head: string; lead: string; busy?: number } | undefined;
let phase: Phase | undefined;
let link: FeedState = 'connecting';
let memory = JSON.parse(store.get(key('line')) ?? 'null') as Memory | null;
let feed: Feed | undefined;
let failures = 0;
let timer: ReturnType<typeof setTimeout> | undefined;
let otherTab = false;
let leaving = false;
let spokenAt = 0;
let spoken = '';

// Talking to the server

function later(ms: number, f: () => void): void {
  clearTimeout(timer);
  timer = setTimeout(() => {
    timer = undefined;
    f();
  }, ms);
}

function update(m: Me): void {
  observe(m.as_of);
  const before = phase;
  me = m;
  room = m.room;
  trouble = undefined;
  failures = 0;
  if (m.receipt) store.set(key('receipt'), m.receipt);
  phase = phaseOf(m);
  memory = remember(memory, m.place, m.ahead);
  store.set(key('line'), memory && JSON.stringify(memory));
  if (over(phase)) feed?.stop();
  render();
  if (phase === before) return;
  if (phase === 'shopping') location.replace(shop);
  if (phase === 'ready') ring();
}

function listen(): void {
  feed?.stop();
  if (phase && over(phase)) return;
  feed = new Feed({
    path: `/v1/rooms/${id}/ws`,
    protocol: 'onsale.v1',
    message: (m) => (m as Me).state && update(m as Me),
    poll: async () => {
      try {
        update(await getMe(id));
      } catch (e) {
        if (!(e instanceof Problem && e.status === 401)) throw e;
        void enter();
      }
      return me!.poll_after_ms || 5000;
    },
    state: (s) => {
      link = s;
      render();
    },
    closed: (code) => {
      if (code === 4001) later(Math.random() * 1000, enter);
      else if (code === 4010) later(Math.random() * 1000, look);
      return code === 4001 || code === 4010;
    },
  });
  link = 'connecting';
  feed.start();
}

/** Finds the place this browser already has, or joins. */
async function look(): Promise<void> {
  try {
    update(await getMe(id));
    listen();
  } catch (e) {
    if (!(e as Problem).status || (e as Problem).status > 401) return failed(e as Problem, look);
    phase = (room && phaseOfRoom(room)) ?? undefined;
    if (!phase && store.get(key('left'))) phase = 'left';
    if (!phase) return enter();
    render();
  }
}

/** Joins the line; a receipt brings an earlier place back. */
async function enter(): Promise<void> {
  const receipt = store.get(key('receipt'));
  store.set(key('left'), null);
  try {
    update(await join(id, receipt));
    listen();
  } catch (e) {
    const p = e as Problem;
    if (receipt && p.status >= 400 && p.status < 500 && p.status !== 429) {
      store.set(key('receipt'), null);
      return enter();
    }
    failed(p, enter);
  }
}

function failed(p: Problem, again: () => void): void {
  if (p.status === 429) {
    const s = p.retryAfter || 5;
    trouble = { head: t(T.loading), lead: '', busy: Date.now() + s * 1000 };
    later(s * 1000 + Math.random() * 1000, again);
  } else if (p.status && p.status < 500) {
    trouble = { head: p.title, lead: p.detail };
  } else {
    trouble = { head: t(T.noAnswer), lead: t(T.noAnswerLead) };
    later(Math.max(p.retryAfter * 1000, backoff(++failures, 0)), again);
  }
  render();
}

async function go(): Promise<void> {
  const b = $<HTMLButtonElement>('go');
  if (trouble) return look();
  if (phase !== 'ready') return phase === 'left' || phase === 'expired' ? enter() : location.assign(shop);
  b.disabled = true;
  try {
    update(await claim(id));
  } catch (e) {
    trouble = { head: (e as Problem).title, lead: (e as Problem).detail };
    later(2000, look);
    render();
  }
  b.disabled = false;
}

async function quit(): Promise<void> {
  if (!leaving) {
    leaving = true;
    setTimeout(() => { leaving = false; render(); }, 6000);
    return render();
  }
  try {
    await leave(id);
    feed?.stop();
    clearTimeout(timer);
    store.set(key('receipt'), null);
    store.set(key('line'), null);
    store.set(key('left'), '1');
    memory = null;
    phase = 'left';
    render();
    $('head').focus();
  } catch (e) {
    failed(e as Problem, look);
  }
}

// Showing it

const views: Record<Phase, readonly [head: T.Text, lead: T.Text | null, button: T.Text | null]> = {
  scheduled: [T.scheduled, T.scheduledLead, null],
  lobby: [T.lobby, T.lobbyLead, null],
  waiting: [T.waiting, null, null],
  paused: [T.paused, T.pausedLead, null],
  shop_unavailable: [T.shopDown, T.pausedLead, null],
  full: [T.full, T.fullLead, null],
  all_held: [T.allHeld, T.allHeldLead, null],
  ready: [T.ready, T.readyLead, T.enter],
  shopping: [T.inside, null, T.toShop],
  done: [T.done, T.doneLead, T.toEvent],
  left: [T.left, T.againLead, T.again],
  expired: [T.expired, T.againLead, T.again],
  closed: [T.closed, null, T.toEvent],
  sold_out: [T.soldOut, T.soldOutLead, T.toEvent],
};

/** Writes a text where it changed, and hides what has none. */
function put(n: string, text: string | null | undefined): void {
  const e = $(n);
  if (e.textContent !== (text ??= '')) e.textContent = text;
  (n[0] === 'd' ? e.parentElement! : e).hidden = !text;
}

let drawn: string | undefined;

function render(): void {
  const v = phase && views[phase];
  const inLine = !!me?.ahead?.toFixed && !!memory && !trouble && ['waiting', 'paused', 'shop_unavailable', 'full', 'all_held'].includes(phase!);
  const opens = phase === 'scheduled' ? room!.lobby_opens_at ?? room!.opens_at : phase === 'lobby' ? room!.opens_at : null;
  const head = trouble?.head ?? t(v ? v[0] : T.loading);
  const lead = trouble ? (trouble.busy ? t(T.busy, Math.max(1, Math.ceil((trouble.busy - Date.now()) / 1000))) : trouble.lead)
    : phase === 'lobby' && !opens ? t(T.lobbySoon)
    : v?.[1] ? t(v[1], date(opens)) : '';
  const title = data.event?.name ?? room?.name ?? 'onsale';

  put('name', title);
  put('head', head);
  put('lead', lead);
  put('words', trouble ? '' : room?.message);
  put('what', inLine ? (memory!.ahead ? t(memory!.ahead === 1 ? T.aheadOne : T.ahead) : t(T.next)) : '');
  put('keep', inLine || phase === 'lobby' ? t(T.keep) : '');
  put('dw', inLine ? (me!.wait ? minutes(me!.wait.low_s, me!.wait.high_s) : t(T.unknown)) : '');
  put('ds', inLine && room!.stock_left !== null ? number(room!.stock_left) : '');
  put('dr', inLine ? number(room!.admitting_per_minute) : '');
  put('dg', phase === 'lobby' ? number(room!.waiting) : '');
  put('du', inLine || phase === 'lobby' ? date(me?.as_of, { timeStyle: 'medium' }) : '');
  $('facts').hidden = !inLine && phase !== 'lobby';
  const bar = $<HTMLProgressElement>('bar');
  bar.hidden = !inLine;
  if (inLine) bar.value = progress(memory!);

  const state = navigator.onLine ? { live: T.live, reconnecting: T.reconnecting, polling: T.polling, connecting: null, stopped: null }[link] : T.offline;
  put('link', !phase || over(phase) || phase === 'scheduled' || !state ? '' : t(state));
  $('link').className = link;

  const button = trouble ? (trouble.busy ? null : T.retry) : v?.[2];
  put('go', button && t(button));
  put('leave', inLine || phase === 'lobby' || phase === 'ready' ? t(leaving ? T.really : T.leave) : '');
  put('tell', (inLine || phase === 'lobby') && 'Notification' in window && Notification.permission === 'default' ? t(T.tell) : '');
  put('tabs', otherTab ? t(T.tabs) : '');
  tick();

  document.title = phase === 'ready' ? `● ${t(T.ready)} · ${title}` : inLine ? `${number(memory!.ahead)} · ${title}` : `${head} · ${title}`;

  const shown = trouble ? 'trouble' : phase;
  if (shown !== drawn) {
    if (phase === 'ready' && !trouble) {
      $('alert').textContent = `${head} ${lead}`;
      $('go').focus();
    } else if (drawn) $('alert').textContent = '';
    drawn = shown;
    spokenAt = 0;
  }
  speak(inLine ? `${head}. ${number(memory!.ahead)} ${t(T.ahead)}. ${t(T.wait)}: ${$('dw').textContent}` : `${head}. ${lead}`);
}

/** A range in whole minutes, as the language writes it. */
function minutes(low: number, high: number): string {
  const f = new Intl.NumberFormat(T.languages[lang], { style: 'unit', unit: 'minute' });
  return f.formatRange(Math.max(1, Math.floor(low / 60)), Math.max(1, Math.ceil(high / 60)));
}

/** Tells screen readers: at once on a new phase, else at most every 15 seconds. */
function speak(text: string): void {
  if (text === spoken || phase === 'ready' || trouble?.busy || Date.now() - spokenAt < 15_000) return;
  spokenAt = Date.now();
  $('say').textContent = spoken = text;
}

/** What changes every second: the big number, or a countdown. */
function tick(): void {
  const until = trouble ? null : phase === 'ready' ? me!.claim_by : phase === 'lobby' ? room!.opens_at : phase === 'scheduled' ? room!.lobby_opens_at ?? room!.opens_at : null;
  const s = secondsUntil(until);
  const line = !$('bar').hidden && memory;
  put('big', s !== null ? clockText(s) : line && memory!.ahead ? number(memory!.ahead) : '');
  $('big').classList.toggle('time', s !== null);
  if (s === 0 && phase === 'scheduled' && !timer) later(1000 + Math.random() * 3000, enter);
  if (s === 0 && phase === 'ready' && !timer) later(1500, look);
}

/** A sound, a notification and the focus, as far as the browser allows them. */
function ring(): void {
  try {
    if (Notification.permission === 'granted') new Notification(t(T.ready), { body: data.event?.name ?? '', tag: id });
  } catch { /* no notifications here */ }
  try {
    const a = new AudioContext(), o = a.createOscillator(), g = a.createGain();
    o.frequency.value = 660;
    g.gain.value = .1;
    o.connect(g).connect(a.destination);
    o.start();
    o.stop(.4);
  } catch { /* no sound here */ }
}

function speakIn(l: number): void {
  lang = l;
  document.documentElement.lang = T.languages[l]!;
  $('lang').setAttribute('aria-label', t(T.language));
  ([['lw', T.wait], ['ls', T.stock], ['lr', T.rate], ['lg', T.gathered], ['lu', T.updated]] as const).forEach(([n, x]) => { $(n).textContent = t(x); });
  $('bar').setAttribute('aria-label', t(T.waiting));
  const e = data.event;
  put('venue', e ? [date(e.starts_at, { dateStyle: 'full', timeStyle: 'short' }), e.venue?.name, e.venue?.city].filter(Boolean).join(' · ') : '');
  render();
}

observe(data.now);
for (const c of id) document.documentElement.style.setProperty('--hue', String((c.charCodeAt(0) * 37 + Number(document.documentElement.style.getPropertyValue('--hue'))) % 360));
$('essentials').hidden = true;
$('app').hidden = false;
const menu = $<HTMLSelectElement>('lang');
T.names.forEach((n, i) => menu.add(new Option(n, String(i), i === lang, i === lang)));
menu.onchange = () => {
  store.set('onsale:lang', T.languages[+menu.value]!);
  speakIn(+menu.value);
};
$('go').onclick = go;
$('leave').onclick = quit;
$('tell').onclick = () => void Notification.requestPermission().then(render);
addEventListener('offline', render);
setInterval(() => (trouble?.busy ? render() : tick()), 1000);
try {
  const tabs = new BroadcastChannel(key('tab'));
  tabs.onmessage = (e) => {
    if (e.data) tabs.postMessage(0);
    otherTab = true;
    render();
  };
  tabs.postMessage(1);
} catch { /* only the note is lost */ }
speakIn(lang);
void look();
