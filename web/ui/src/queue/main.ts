import '../style/tokens.css';
import './queue.css';
import { type Answer, type Event, type Me, type Problem, type Room, claim, getMe, join, leave } from '../api';
import { clockText, observe, secondsUntil } from '../clock';
import { backoff, Feed, type FeedState } from '../feed';
import { locale } from '../locale';
import { hueOf, pageData, pathId, store } from '../shell';
import { arrivalOf } from './arrival';
import { type Memory, type Phase, over, phaseOf, phaseOfRoom, progress, remember } from './line';
import type { Host } from './more';
import type { Challenge } from './pow';
import * as T from './texts/en.json';

// Before anything else: what the address brings is a secret, and leaves the address and the history.
const { hash, pathname, search } = location;
let arrival = arrivalOf(hash);
if (arrival) history.replaceState(null, '', pathname + search);

const id = pathId();
const data = pageData<{ event: Event | null; room: Room | null; now: string }>();
const $ = <E extends HTMLElement = HTMLElement>(n: string): E => document.getElementById(n) as E;
const shop = `/events/${id}`;
/** Where shoppers go: to our shop, or to the site the line protects, by way of the server, which judges the address. */
const back = new URLSearchParams(search).get('return');
const inside = back ? `/v1/rooms/${id}/enter?return=${encodeURIComponent(back)}` : shop;
const recall = (k: string): string | null => store.get(`onsale:${k}:${id}`);
const keep = (k: string, v: string | null | false | undefined): void => store.set(`onsale:${k}:${id}`, v || null);
const number = (n: number): string => n.toLocaleString(locale());
const date = (at: string | null | undefined, dateStyle?: 'full' | 'medium', timeStyle: 'short' | 'medium' = 'short', timeZone?: string): string =>
  at ? new Date(at).toLocaleString(locale(), { dateStyle, timeStyle, timeZone }) : '';

// State

let me: Me | undefined;
let room = data.room;
let phase: Phase | null = null;
/** What is shown instead of a phase, while there is something; `until` when it goes on by itself (0: nobody knows when). */
let trouble: { head: string; lead: string; until?: number; button?: string; way?: string } | undefined;
/** Entering waits for a place in the shop. */
let freeing = false;
let challenges = 0;
let link: FeedState = 'connecting';
let memory = JSON.parse(recall('line') ?? 'null') as Memory | null;
let feed: Feed | undefined;
let failures = 0;
let timer: ReturnType<typeof setTimeout> | undefined;
let otherTab = false;
let leaving = false;
let suspected: unknown;
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
  failures = challenges = 0;
  if (m.receipt) keep('receipt', m.receipt);
  if (m.index) keep('index', `${m.index}`);
  const before = phase;
  phase = phaseOf(m);
  if (phase !== 'ready') freeing = false;
  memory = remember(memory, m);
  keep('line', memory && JSON.stringify(memory));
  if (over(phase)) feed?.stop();
  render();
  if (phase === before) return;
  if (phase === 'shopping') location.replace(inside);
  if (phase === 'ready') ring();
}

/** Shows the answer of a call, and listens for what follows. */
async function take(answer: Promise<Me>, again: () => void): Promise<void> {
  try {
    update(await answer);
  } catch (e) {
    return failed(e as Problem, again);
  }
  if (again === enter) arrival = null;
  feed?.stop();
  if (over(phase!)) return;
  feed = new Feed({
    path: `/v1/rooms/${id}/ws`,
    protocol: 'onsale.v1',
    message: (m) => update(m as Me),
    poll: async () => {
      try {
        update(await getMe(id));
      } catch (e) {
        const p = e as Problem;
        if (p.status === 401) enter();
        if (p.status !== 429) throw e;
        return (p.retryAfter || 5) * 1000;
      }
      return me!.poll_after_ms;
    },
    state: (s) => {
      link = s;
      render();
    },
    // 4001: the server does not know this visitor any more; 4010: the room has closed.
    closed: (code) => {
      const next = code === 4001 ? enter : code === 4010 && look;
      if (next) later(Math.random() * 1000, next);
      return !!next;
    },
  });
  feed.start();
}

/** Finds the place this browser has, or joins: joining twice is joining once. */
function look(): void {
  phase = recall('left') ? 'left' : room ? phaseOfRoom(room) : null;
  if (arrival) enter();
  else if (recall('receipt')) void take(getMe(id), look);
  else if (phase) render();
  else enter();
}

/** Joins the line, with whatever speaks for this visitor; the receipt of an earlier place brings it back. */
function enter(): void {
  keep('left', null);
  enterWith();
}

function enterWith(challenge?: Answer): void {
  const invite = JSON.parse(recall('invite') ?? '{}') as object;
  // Whoever comes from another device is the visitor of that device from now on.
  if (arrival?.handover) keep('index', null);
  const receipt = !arrival?.handover && recall('receipt');
  void take(join(id, { ...(receipt && { receipt }), ...invite, ...arrival, challenge }), enter);
}

function failed(p: Problem, again: () => void): void {
  feed?.stop();
  const s = p.retryAfter * 1000;
  const code = p.code;
  if (p.status === 401 && again === look) return enter();
  if (p.status === 429) {
    // Somebody whose place is known has only asked too soon; nothing has happened.
    if (again === enter && !me) trouble = { head: T.loading, lead: T.busy, until: Date.now() + (s || 5000) };
    later((s || 5000) + Math.random() * 1000, again);
  } else if (code === 'challenge-required' && challenges++ < 3) {
    trouble = { head: T.checking, lead: T.checkingLead, until: 0 };
    solve(p.body.challenge as Challenge).then(enterWith, () => failed(unreachable, again));
  } else if (p.status && p.status < 500) {
    // A receipt that is not accepted is worth nothing; a new place may be had.
    if (again === enter && recall('receipt') && p.status === 400 && !arrival) {
      keep('receipt', null);
      return enter();
    }
    challenges = 0;
    const said = trouble = { head: p.title, lead: p.detail };
    if (/^(invite|sign|hand)/.test(code)) {
      // What has been refused is not tried again.
      arrival = null;
      if (code === 'invite-invalid') keep('invite', null);
      void more().then((m) => {
        if (trouble !== said) return;
        trouble = { ...said, ...m.explain(code, p.body.sign_in) };
        render();
      });
    }
  } else {
    trouble = { head: p.status ? p.title : T.offline, lead: T.offlineLead, until: 0 };
    later(s || backoff(++failures, 0), again);
  }
  render();
}

/** Takes the turn. A shop that is full for a moment is asked again; the turn is kept meanwhile. */
async function goIn(): Promise<void> {
  try {
    update(await claim(id));
  } catch (e) {
    const p = e as Problem;
    if (p.status === 409) return look();
    if (p.code !== 'shop-full') return failed(p, look);
    freeing = true;
    $('say').textContent = T.freeing;
    later((p.retryAfter || 1) * 1000, () => phase === 'ready' && void goIn());
    render();
  }
}

/** The one large button. */
function go(): void {
  if (trouble?.way) location.assign(trouble.way);
  else if (trouble) look();
  else if (phase === 'left' || phase === 'expired') enter();
  else if (phase === 'ready') void goIn();
  else location.assign(phase === 'shopping' ? inside : shop);
}

// What few people need is loaded when they do.

const unreachable = { status: 0, retryAfter: 0 } as Problem;
const more = () => import('./more');
const solve = async (c: Challenge): Promise<Answer> => (await import('./pow')).solve(c);
const host: Host = { id, recall, keep, number, date, update, solve, me: () => me };

const offer = (n: 'hand' | 'draw') => () => void more().then((m) => m[n](host), () => failed(unreachable, look));

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

const views: Record<Phase, readonly [head: string, lead?: string, button?: string]> = {
  scheduled: [T.scheduled, T.scheduledLead],
  lobby: [T.lobby],
  waiting: [T.waiting],
  paused: [T.paused, T.standstill],
  shop_unavailable: [T.shopDown, T.standstill],
  full: [T.full, T.standstill],
  all_held: [T.allHeld, T.allHeldLead],
  none_free: [T.noneFree, T.standstill],
  draw_pending: [T.drawing, T.drawingLead],
  restoring: [T.restoring, T.restoringLead],
  stopped: [T.stopped, T.standstill],
  ready: [T.ready, T.readyLead, T.enter],
  shopping: [T.inside, , T.enter],
  done: [T.done, , T.toEvent],
  left: [T.left, , T.again],
  expired: [T.expired, , T.again],
  closed: [T.closed, , T.toEvent],
  sold_out: [T.soldOut, , T.toEvent],
};
const orders = { draw: T.lobbyDraw, fifo: T.lobbyFifo, random: T.lobbyRandom };
const lanes: Partial<Record<string, string>> = { staff: T.laneStaff, accessibility: T.laneAccess, fan: T.laneFan, suspect: T.laneSuspect };

/** Writes a text where it changed and hides what has none; a fact (`d…`) hides with its label. */
function put(n: string, text: string | 0 | false | null | undefined): void {
  const e = $(n);
  if (e.textContent !== (text ||= '')) e.textContent = text;
  (n[0] === 'd' ? e.parentElement! : e).hidden = !text;
}

const show = (n: string, on: unknown): void => {
  $(n).hidden = !on;
};

const opens = (): string | null | undefined => (phase === 'scheduled' && room!.lobby_opens_at) || room?.opens_at;

function render(): void {
  const view = phase && views[phase];
  const ours = !trouble && me && !over(phase!) && phase !== 'scheduled';
  const inLine = ours && me!.state === 'waiting' && memory;
  const gathers = ours && me!.state === 'lobby';
  const stays = inLine || gathers;
  const before = !trouble && (phase === 'lobby' || phase === 'scheduled');
  const turn = !trouble && phase === 'ready';
  const title = data.event?.name ?? room?.name ?? 'onsale';
  const head = trouble?.head ?? view?.[0] ?? T.loading;
  const lead = trouble?.lead ?? (turn && freeing ? T.freeing
    : [phase === 'lobby' ? orders[room!.order!] : view?.[1], before && date(opens(), 'medium')].filter(Boolean).join(' '));
  const minutes = (s: number, round: (n: number) => number): number => Math.max(1, round(s / 60));

  put('name', title);
  put('head', head);
  put('lead', lead);
  put('words', !trouble && room?.message);
  put('what', inLine && (memory!.ahead ? T.ahead : T.next));
  show('keep', stays);
  put('code', ours && `${T.code} ${me!.visitor}`);
  show('chance', inLine && me!.chance);
  put('dw', inLine && (me!.wait
    ? new Intl.NumberFormat(locale(), { style: 'unit', unit: 'minute' }).formatRange(minutes(me!.wait.low_s, Math.floor), minutes(me!.wait.high_s, Math.ceil))
    : (phase === 'waiting' || phase === 'full') && T.waitUnknown));
  put('dg', gathers && number(room!.waiting));
  put('ds', inLine && room!.stock_left !== null && number(room!.stock_left));
  put('dr', inLine && number(room!.admitting_per_minute));
  put('dl', stays && lanes[me!.lane!]);
  put('du', stays && date(me!.as_of, undefined, 'medium'));
  show('facts', stays);
  const bar = $<HTMLProgressElement>('bar');
  bar.hidden = !inLine;
  if (inLine) bar.value = progress(memory!);
  const state = navigator.onLine ? { live: T.live, reconnecting: T.reconnecting, polling: T.polling, connecting: null, stopped: null }[link] : T.offline;
  put('link', state);
  $('link').className = link;
  put('go', trouble ? trouble.until === undefined && (trouble.button ?? T.retry) : view?.[2]);
  $('go').ariaBusy = `${freeing}`;
  put('leave', (stays || turn) && (leaving ? T.really : T.leave));
  show('tell', stays && window.Notification?.permission === 'default');
  show('hand', stays || turn);
  show('draw', ours && room!.order === 'draw');
  show('tabs', otherTab);
  const suspect = stays && me!.lane === 'suspect';
  if (suspect !== suspected && (suspected = suspect)) void more().then((m) => m.suspect(host, $('note')), () => (suspected = undefined));
  show('note', suspect && $('note').firstChild);
  tick();
  document.title = `${turn ? '● ' : ''}${inLine ? number(memory!.ahead) : head} · ${title}`;

  const shown = trouble ? head : phase;
  if (shown !== drawn) {
    spokenAt = 0;
    $('alert').textContent = turn ? `${head} ${lead}` : '';
    if (turn) {
      document.querySelector('dialog')?.close();
      $('go').focus();
    }
  }
  drawn = shown;
  // Screen readers hear of a new phase at once, of numbers at most every 15 seconds, and of their turn through the alert.
  const text = `${head}. ${inLine ? `${number(memory!.ahead)} ${T.ahead}. ${me!.wait ? `${T.wait}: ${$('dw').textContent}. ` : ''}${me!.chance ? T.unlikely : ''}` : lead} ${$('words').textContent}`;
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
    new Notification(T.ready, { body: data.event?.name, tag: id });
    const a = new AudioContext(), o = a.createOscillator();
    o.connect(a.destination);
    o.start();
    o.stop(.3);
  } catch { /* phones notify through service workers only */ }
}

/** Starts the page; what it says is in the language it was built in. */
function begin(): void {
  const e = data.event;
  put('venue', e?.venue && `${date(e.starts_at, 'full', 'short', e.timezone)} · ${e.venue.name}, ${e.venue.city}`);
  observe(data.now);
  document.documentElement.style.setProperty('--hue', String(hueOf(id)));
  $('essentials').hidden = true;
  $('app').hidden = false;
  menu.onchange = () => {
    store.set('onsale:lang', menu.value);
    speak();
  };
  $('go').onclick = go;
  $('leave').onclick = quit;
  $('tell').onclick = () => void Notification.requestPermission().then(render);
  $('hand').onclick = offer('hand');
  $('draw').onclick = offer('draw');
  addEventListener('offline', render);
  // A link opened over this very page changes nothing but the fragment.
  addEventListener('hashchange', () => arrivalOf(location.hash) && location.reload());
  setInterval(tick, 1000);
  const tabs = new BroadcastChannel(id);
  tabs.onmessage = (e) => {
    if (e.data) tabs.postMessage(0);
    otherTab = true;
    render();
  };
  tabs.postMessage(1);
  if (arrival?.invite) keep('invite', JSON.stringify({ invite: arrival.invite, email: arrival.email }));
  render();
  look();
}

// Every language is a page of its own, which the server chooses by ?lang= or the browser's languages.
const menu = $<HTMLSelectElement>('lang');
const query = new URLSearchParams(search);
function speak(): void {
  query.set('lang', menu.value);
  location.replace(`${pathname}?${query}${arrival ? hash : ''}`);
}
menu.value = (!query.get('lang') && store.get('onsale:lang')) || '';
if (menu.value && menu.value !== document.documentElement.lang) speak();
else {
  menu.value = document.documentElement.lang;
  begin();
}
