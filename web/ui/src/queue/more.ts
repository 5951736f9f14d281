/**
 * What few visitors of the queue page need, loaded when they do: the draw's
 * proof, the hand-over to another device, the appeal of those under suspicion,
 * and what to do about refused invitations. Built once per language.
 */
import { correction, generate } from 'lean-qr';
import { type Answer, type Draw, type Me, Problem, appeal, getDraw, handOver } from '../api';
import { clockText, secondsUntil } from '../clock';
import { type Verdict, verify } from './draw';
import type { Challenge } from './pow';
import * as T from './texts/en.json';

/** What the queue page lends this part of it. */
export interface Host {
  id: string;
  recall: (k: string) => string | null;
  keep: (k: string, v: string | null) => void;
  number: (n: number) => string;
  date: (at: string | null, dateStyle: 'medium', timeStyle: 'medium') => string;
  update: (m: Me) => void;
  solve: (c: Challenge) => Promise<Answer>;
  me: () => Me | undefined;
}

/** What to do about a refusal, in the visitor's language; nothing for those that need no more than the server's words. `signIn` is where one signs in, if that is here. */
export const explain = (code: string, signIn?: unknown): { head: string; lead: string; button?: string; way?: string } | undefined => ({
  'invite-required': { head: T.inviteRequired, lead: T.inviteRequiredLead },
  'invite-invalid': { head: T.inviteInvalid, lead: T.inviteInvalidLead },
  'sign-in-required': typeof signIn === 'string' ? { head: T.signIn, lead: T.signInHere, button: T.signInNow, way: signIn } : { head: T.signIn, lead: T.signInLead },
  'handover-invalid': { head: T.handInvalid, lead: T.handInvalidLead, button: T.again },
})[code];

/** An element with text or children. */
function el<K extends keyof HTMLElementTagNameMap>(tag: K, props: Partial<HTMLElementTagNameMap[K]> = {}, ...children: (Node | string)[]): HTMLElementTagNameMap[K] {
  const e = Object.assign(document.createElement(tag), props);
  e.append(...children);
  return e;
}

let styled = false;
function style(): void {
  if (styled) return;
  styled = true;
  const s = new CSSStyleSheet();
  s.replaceSync(`dialog{width:min(38rem,calc(100% - 2rem));max-height:calc(100% - 2rem);padding:clamp(1rem,4vw,1.75rem);border:1px solid var(--line);border-radius:var(--r);background:var(--card);color:var(--ink);overflow:auto}
dialog::backdrop{background:#000a}
dialog>div,.stack{display:grid;gap:1rem;justify-items:start;width:100%}
[role=status]:empty{position:absolute}
dialog dl{display:grid;width:100%;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));padding-top:1rem}
dialog .long{grid-column:1/-1}
dialog dd{overflow-wrap:anywhere}
dialog dd code{font-size:.85rem;font-weight:400}
dialog ul{list-style:none;margin:0;padding:0;display:grid;gap:.35rem}
dialog svg{width:min(16rem,100%);background:#fff;border-radius:8px;justify-self:center;forced-color-adjust:none}
dialog .link{width:100%;overflow-wrap:anywhere;font-size:.9rem;background:var(--bg);border:1px solid var(--line);border-radius:8px;padding:.6rem .8rem}
.verdict{font-weight:700;border-inline-start:4px solid var(--good);padding:.5rem .9rem;background:var(--bg)}
.verdict.bad{border-color:var(--warn)}
.yes::before{content:"✓ ";color:var(--good);font-weight:700}
.no::before{content:"✗ ";color:var(--warn);font-weight:700}
.row{display:flex;flex-wrap:wrap;gap:.6rem}
#note>*+*{margin-top:.6rem}`);
  document.adoptedStyleSheets.push(s);
}

/** Opens a dialog with a heading, a way out and an empty body; the browser brings the focus in and back. */
function dialog(title: string): { box: HTMLDialogElement; body: HTMLElement; said: HTMLElement } {
  style();
  const body = el('div', {}, el('p', {}, T.loading)), said = el('p', { role: 'status' });
  const head = el('h2', { id: 'more', tabIndex: -1 }, title);
  const box = el('dialog', {}, el('div', {}, head, body, said, el('button', { onclick: () => box.close() }, T.close)));
  body.className = 'stack';
  box.setAttribute('aria-labelledby', 'more');
  box.onclose = () => box.remove();
  document.body.append(box);
  box.showModal();
  head.focus();
  return { box, body, said };
}

/** Runs what a dialog needs from the server, and says so when it does not come. */
async function attempt(said: HTMLElement, f: () => Promise<void>): Promise<void> {
  try {
    await f();
  } catch (e) {
    said.textContent = (e instanceof Problem && e.status && (e.detail || e.title)) || T.failed;
  }
}

// The draw

/** Shows the proof of the draw, recomputed here. */
export function draw(host: Host): void {
  const { body, said } = dialog(T.draw);
  void attempt(said, async () => {
    try {
      const d = await getDraw(host.id);
      if (d.status !== 'drawn' && !host.recall('commitment')) host.keep('commitment', d.commitment);
      const verdict = await verify(d, { commitment: host.recall('commitment'), index: Number(host.recall('index')) || null });
      body.replaceChildren(...proof(host, d, verdict));
    } catch (e) {
      body.replaceChildren();
      throw e;
    }
  });
}

function proof(host: Host, d: Draw, v: Verdict | null): Node[] {
  const names: [keyof Verdict['checks'], string][] = [
    ['commitment', T.drawCommitment], ['same', T.drawSame], ['seed', T.drawSeed], ['index', T.drawIndex], ['place', T.drawPlace],
  ];
  const place = host.me()?.place ?? null;
  const head = !v ? (d.status === 'frozen' ? T.drawFrozen : T.drawEarly) : !v.ok ? T.drawBad : v.place === null ? T.drawLate : T.drawGood;
  const out: Node[] = [el('p', { className: `verdict${v && !v.ok ? ' bad' : ''}` }, head)];
  if (v?.ok && v.place !== null && place !== null && place !== v.place) out.push(el('p', {}, T.drawMoved));
  if (v) {
    out.push(el('ul', {}, ...names.filter(([k]) => k in v.checks).map(([k, text]) =>
      el('li', { className: v.checks[k] ? 'yes' : 'no' }, el('span', { className: 'vh' }, `${v.checks[k] ? T.yes : T.no}: `), text))));
  }
  const n = (x: number | null | undefined): string | null => (x == null ? null : host.number(x));
  const values: [string, string | null | undefined, boolean?][] = [
    [T.vPlace, n(d.you?.place)], [T.vComputed, n(v?.place)], [T.vIndex, n(d.you?.index)], [T.vPeople, n(d.n)],
    [T.vAt, d.drawn_at && host.date(d.drawn_at, 'medium', 'medium')], [T.vAlgorithm, d.algorithm],
    [T.vSource, d.public_source, true], [T.vValue, d.public_value, true],
    [T.vCommitment, d.commitment, true], [T.vSecret, d.secret, true], [T.vDigest, d.digest, true], [T.vSeed, d.seed, true],
  ];
  out.push(el('dl', {}, ...values.filter(([, x]) => x).map(([name, x, long]) =>
    el('div', { className: long ? 'long' : '' }, el('dt', {}, name), el('dd', {}, long ? el('code', {}, x!) : x!)))));
  out.push(el('p', { className: 'soft' }, T.drawHow));
  return out;
}

// Another device

/** Shows a link and its QR code, with which another device becomes the same visitor. */
export function hand(host: Host): void {
  const { box, body, said } = dialog(T.hand);
  let timer: ReturnType<typeof setInterval> | undefined;
  box.addEventListener('close', () => clearInterval(timer));
  const fresh = (): void => void attempt(said, async () => {
    said.textContent = '';
    clearInterval(timer);
    const again = el('button', { onclick: fresh }, T.handNew);
    try {
      const h = await handOver(host.id);
      const left = el('span', { className: 'num' }), time = el('p', {}, `${T.handTime} `, left);
      left.setAttribute('role', 'timer');
      const tick = (): void => {
        const s = secondsUntil(h.expires_at) ?? 0;
        left.textContent = clockText(s);
        if (s) return;
        clearInterval(timer);
        body.replaceChildren(el('p', {}, T.handOver), again);
        again.focus();
      };
      const copy = el('button', {
        onclick: () => void navigator.clipboard.writeText(h.url).then(() => { said.textContent = T.copied; }, () => getSelection()?.selectAllChildren(link)),
      }, T.copy);
      const link = el('p', { className: 'link' }, h.url);
      // Without TLS there is no clipboard; the text can still be selected.
      copy.hidden = !navigator.clipboard;
      body.replaceChildren(el('p', {}, T.handHow), code(h.url), link, el('div', { className: 'row' }, copy), time);
      timer = setInterval(tick, 1000);
      tick();
    } catch (e) {
      body.replaceChildren(again);
      throw e;
    }
  });
  fresh();
}

const svg = 'http://www.w3.org/2000/svg';

/** The QR code of `text`, black on white in every look, since that is what cameras read. */
function code(text: string): SVGElement {
  const q = generate(text, { minCorrectionLevel: correction.M }), quiet = 4, size = q.size + 2 * quiet;
  let d = '';
  for (let y = 0; y < q.size; y++) for (let x = 0; x < q.size; x++) if (q.get(x, y)) d += `M${x + quiet} ${y + quiet}h1v1h-1z`;
  const s = document.createElementNS(svg, 'svg'), path = document.createElementNS(svg, 'path');
  s.setAttribute('viewBox', `0 0 ${size} ${size}`);
  s.setAttribute('role', 'img');
  s.setAttribute('aria-label', T.handCode);
  s.setAttribute('shape-rendering', 'crispEdges');
  path.setAttribute('d', d);
  s.append(path);
  return s;
}

// Suspicion

/** Says why others go first, with a way to appeal. */
export function suspect(host: Host, box: HTMLElement): void {
  style();
  const said = el('p', { role: 'status' }), button = el('button', {}, T.mistake);
  button.onclick = () => void attempt(said, async () => {
    if (button.ariaDisabled === 'true') return;
    button.ariaDisabled = 'true';
    said.textContent = T.checking;
    try {
      let m: Me;
      try {
        m = await appeal(host.id);
      } catch (e) {
        if (!(e instanceof Problem) || e.code !== 'challenge-required') throw e;
        m = await appeal(host.id, await host.solve(e.body.challenge as Challenge));
      }
      host.update(m);
      document.getElementById('head')!.focus();
      document.getElementById('say')!.textContent = T.cleared;
    } finally {
      button.ariaDisabled = null;
    }
  });
  box.replaceChildren(el('p', {}, T.suspect), button, said);
  document.getElementById('say')!.textContent = T.suspect;
  box.hidden = false;
}
