import '../style/tokens.css';
import './queue.css';
import { type Event, type Me, type Problem, type Room, claim, getMe, join, leave } from '../api';
import { clockText, observe, secondsUntil } from '../clock';
import { backoff, Feed, type FeedState } from '../feed';
import { locale } from '../locale';
import { hueOf, pageData, pathId, store } from '../shell';
import { type Memory, type Phase, over, phaseOf, phaseOfRoom, progress, remember } from './line';
import * as T from './texts';

const id = pathId();
const data = pageData<{ event: Event | null; room: Room | null; now: string }>();
const $ = <E extends HTMLElement = HTMLElement>(n: string): E => document.getElementById(n) as E;
const shop = `/events/${id}`;
const recall = (k: string): string | null => store.get(`onsale:${k}:${id}`);
const keep = (k: string, v: string | null): void => store.set(`onsale:${k}:${id}`, v);

// Language

let lang = 0;
const t = (text: T.Text): string => text[lang]!;
const number = (n: number): string => n.toLocaleString(locale());
const date = (at: string | null | undefined, dateStyle?: 'full' | 'medium', timeStyle: 'short' | 'medium' = 'short', timeZone?: string): string =>
  at ? new Date(at).toLocaleString(locale(), { dateStyle, timeStyle, timeZone }) : '';

// State

let me: Me | undefined;
let room = data.room;
let phase: Phase | null = null;
/** The failure shown instead of a phase, while there is one; `until` when the next try has a known time. */
let trouble: { head: string; lead: string; until?: number } | undefined;
let link: FeedState = 'connecting';
let memory = JSON.parse(recall('line') ?? 'null') as Memory | null;
let feed: Feed | undefined;
let failures = 0;
let timer: ReturnType<typeof setTimeout> | undefined;
let otherTab = false;
let leaving = false;
let drawn: string | null | undefined;
let spoken = '';
let spokenAt = 0;

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
  me = m;
  room = m.room;
  trouble = undefined;
  failures = 0;
  if (m.receipt) keep('receipt', m.receipt);
  const before = phase;
  phase = phaseOf(m);
  memory = remember(memory, m.place, m.ahead);
  keep('line', memory && JSON.stringify(memory));
  if (over(phase)) feed?.stop();
  render();
  if (phase === before) return;
  if (phase === 'shopping') location.replace(shop);
  if (phase === 'ready') ring();
}

/** Shows the answer of a call, and listens for what follows. */
async function take(answer: Promise<Me>, again: () => void): Promise<void> {
  try {
    update(await answer);
  } catch (e) {
    return failed(e as Problem, again);
  }
  feed?.stop();
  if (over(phase!)) return;
  feed = new Feed({
    path: `/v1/rooms/${id}/ws`,
    protocol: 'onsale.v1',
    message: (m) => update(m as Me),
    poll: async () => {
      const answer = getMe(id);
      answer.catch((e: Problem) => e.status === 401 && enter());
      update(await answer);
      return me!.poll_after_ms;
    },
    state: (s) => {
      link = s;
      render();
    },
    // 4001: the server does not know this visitor any more; 4010: the room has closed.
    closed: (code) => {
      if (code === 4001 || code === 4010) later(Math.random() * 1000, code === 4001 ? enter : look);
      return code === 4001 || code === 4010;
    },
  });
  feed.start();
}

/** Finds the place this browser has, or joins: joining twice is joining once. */
function look(): void {
  phase = recall('left') ? 'left' : room ? phaseOfRoom(room) : null;
  if (recall('receipt')) void take(getMe(id), look);
  else if (phase) render();
  else enter();
}

/** Joins the line; the receipt of an earlier place brings it back. */
function enter(): void {
  keep('left', null);
  void take(join(id, recall('receipt')), enter);
}

function failed(p: Problem, again: () => void): void {
  feed?.stop();
  const s = p.retryAfter * 1000;
  if (p.status === 401 && again === look) return enter();
  if (p.status === 429) {
    trouble = { head: t(T.loading), lead: t(T.busy), until: Date.now() + (s || 5000) };
    later((s || 5000) + Math.random() * 1000, again);
  } else if (p.status && p.status < 500) {
    // A receipt that is not accepted is worth nothing; a new place may be had.
    if (again === enter && recall('receipt')) {
      keep('receipt', null);
      return enter();
    }
    trouble = { head: p.title, lead: p.detail };
  } else {
    trouble = { head: p.status ? p.title : t(T.offline), lead: t(T.offlineLead) };
    later(s || backoff(++failures, 0), again);
  }
  render();
}

/** The one large button. */
function go(): void {
  if (trouble) look();
  else if (phase === 'left' || phase === 'expired') enter();
  else if (phase === 'ready') void take(claim(id), look);
  else location.assign(shop);
}

/** Leaves at the second press within six seconds. */
async function quit(): Promise<void> {
  leaving = !leaving;
  if (leaving) {
    setTimeout(() => {
      leaving = false;
      render();
    }, 6000);
    return render();
  }
  try {
    await leave(id);
  } catch (e) {
    return failed(e as Problem, look);
  }
  feed?.stop();
  keep('receipt', null);
  keep('line', (memory = null));
  keep('left', '1');
  look();
  $('head').focus();
}

// Showing it

const views: Record<Phase, readonly [head: T.Text, lead?: T.Text, button?: T.Text]> = {
  scheduled: [T.scheduled, T.scheduledLead],
  lobby: [T.lobby, T.lobbyLead],
  waiting: [T.waiting],
  paused: [T.paused, T.standstill],
  shop_unavailable: [T.shopDown, T.standstill],
  full: [T.full, T.standstill],
  all_held: [T.allHeld, T.standstill],
  ready: [T.ready, T.readyLead, T.enter],
  shopping: [T.inside, , T.enter],
  done: [T.done, , T.toEvent],
  left: [T.left, , T.again],
  expired: [T.expired, , T.again],
  closed: [T.closed, , T.toEvent],
  sold_out: [T.soldOut, , T.toEvent],
};

/** Writes a text where it changed and hides what has none; a fact (`d…`) hides with its label. */
function put(n: string, text: string | 0 | false | null | undefined): void {
  const e = $(n);
  if (e.textContent !== (text ||= '')) e.textContent = text;
  (n[0] === 'd' ? e.parentElement! : e).hidden = !text;
}

const opens = (): string | null | undefined => (phase === 'scheduled' && room!.lobby_opens_at) || room?.opens_at;

function render(): void {
  const view = phase && views[phase];
  const inLine = !trouble && me?.state === 'waiting' && memory && !over(phase!) && phase !== 'scheduled';
  const gathers = !trouble && phase === 'lobby';
  const before = gathers || (!trouble && phase === 'scheduled');
  const title = data.event?.name ?? room?.name ?? 'onsale';
  const head = trouble?.head ?? t(view?.[0] ?? T.loading);
  const lead = trouble?.lead ?? [view?.[1] && t(view[1]), before && date(opens(), 'medium')].filter(Boolean).join(' ');
  const turn = !trouble && phase === 'ready';
  const unit = { style: 'unit', unit: 'minute' } as const;

  put('name', title);
  put('head', head);
  put('lead', lead);
  put('words', !trouble && room?.message);
  put('what', inLine && t(memory!.ahead ? T.ahead : T.next));
  put('keep', (inLine || gathers) && t(T.keep));
  put('dw', inLine && me!.wait && new Intl.NumberFormat(locale(), unit).formatRange(Math.max(1, Math.floor(me!.wait.low_s / 60)), Math.max(1, Math.ceil(me!.wait.high_s / 60))));
  put('dg', gathers && number(room!.waiting));
  put('ds', inLine && room!.stock_left !== null && number(room!.stock_left));
  put('dr', inLine && number(room!.admitting_per_minute));
  put('du', (inLine || gathers) && date(me!.as_of, undefined, 'medium'));
  $('facts').hidden = !inLine && !gathers;
  const bar = $<HTMLProgressElement>('bar');
  bar.hidden = !inLine;
  if (inLine) bar.value = progress(memory!);
  const state = navigator.onLine ? { live: T.live, reconnecting: T.reconnecting, polling: T.polling, connecting: null, stopped: null }[link] : T.offline;
  put('link', state && t(state));
  $('link').className = link;
  const button = trouble ? (trouble.until ? null : T.retry) : view?.[2];
  put('go', button && t(button));
  put('leave', (inLine || gathers || turn) && t(leaving ? T.really : T.leave));
  put('tell', (inLine || gathers) && window.Notification?.permission === 'default' && t(T.tell));
  put('tabs', otherTab && t(T.tabs));
  tick();
  document.title = `${turn ? '● ' : ''}${inLine ? number(memory!.ahead) : head} · ${title}`;

  const shown = trouble ? head : phase;
  if (shown !== drawn) {
    spokenAt = 0;
    $('alert').textContent = turn ? `${head} ${lead}` : '';
    if (turn) $('go').focus();
  }
  drawn = shown;
  // Screen readers hear of a new phase at once, of numbers at most every 15 seconds, and of their turn through the alert.
  const text = inLine ? `${head}. ${number(memory!.ahead)} ${t(T.ahead)}. ${t(T.wait)}: ${$('dw').textContent}` : `${head}. ${lead}`;
  if (text !== spoken && !turn && Date.now() - spokenAt >= 15_000) {
    spokenAt = Date.now();
    $('say').textContent = spoken = text;
  }
}

/** What changes every second: a countdown, or the number of people ahead. */
function tick(): void {
  const s = trouble ? (trouble.until ? Math.max(0, Math.ceil((trouble.until - Date.now()) / 1000)) : null)
    : secondsUntil(phase === 'ready' ? me!.claim_by : phase === 'lobby' || phase === 'scheduled' ? opens() : null);
  put('big', s !== null ? clockText(s) : !$('bar').hidden && memory!.ahead && number(memory!.ahead));
  if (s === 0 && !timer && !trouble) {
    if (phase === 'scheduled') later(1000 + Math.random() * 3000, enter);
    if (phase === 'ready') later(1500, look);
  }
}

/** A notification and a sound, as far as this person allowed them. */
function ring(): void {
  if (window.Notification?.permission !== 'granted') return;
  try {
    new Notification(t(T.ready), { body: data.event?.name, tag: id });
    const a = new AudioContext(), o = a.createOscillator();
    o.connect(a.destination);
    o.start();
    o.stop(.3);
  } catch { /* phones notify through service workers only */ }
}

function speak(l: number): void {
  lang = l;
  document.documentElement.lang = t(T.languages);
  Object.entries({ lw: T.wait, lg: T.gathered, ls: T.stock, lr: T.rate, lu: T.updated }).forEach(([n, x]) => put(n, t(x)));
  const e = data.event;
  put('venue', e && `${date(e.starts_at, 'full', 'short', e.timezone)} · ${e.venue.name}, ${e.venue.city}`);
  render();
}

observe(data.now);
document.documentElement.style.setProperty('--hue', String(hueOf(id)));
$('essentials').hidden = true;
$('app').hidden = false;
const menu = $<HTMLSelectElement>('lang');
T.names.forEach((n, i) => menu.add(new Option(n, `${i}`)));
menu.onchange = () => {
  store.set('onsale:lang', menu.value);
  speak(+menu.value);
};
$('go').onclick = go;
$('leave').onclick = quit;
$('tell').onclick = () => void Notification.requestPermission().then(render);
addEventListener('offline', render);
setInterval(tick, 1000);
const tabs = new BroadcastChannel(id);
tabs.onmessage = (e) => {
  if (e.data) tabs.postMessage(0);
  otherTab = true;
  render();
};
tabs.postMessage(1);
const liked = navigator.languages.map((l) => T.languages.indexOf(l.slice(0, 2) as T.Language)).find((i) => i >= 0);
menu.value = store.get('onsale:lang') ?? `${liked ?? 0}`;
speak(+menu.value);
look();
