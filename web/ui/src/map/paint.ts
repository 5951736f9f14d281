import type { PlanArea } from '../api';
import type { Plan } from './plan';
import { accessible, aisle, companion, restricted } from './marks';
import { available, blocked, held } from './status';
import type { View } from './view';

/** Below this many CSS pixels per seat the map is one picture; above `closeUp`, circles. */
export const picture = 6, closeUp = 13;
/** Seat numbers are written from this size on. */
const numbers = 19;

export interface Colours { ground: string; ink: string; soft: string; line: string; gone: string; accent: string; on: string; font: string }

/** What is drawn beside the plan itself. */
export interface Marks {
  status: Uint8Array;
  chosen: ReadonlySet<number>;
  mine: ReadonlySet<number>;
  /** Chosen tickets of general-admission sections. */
  areas: ReadonlyMap<number, number>;
  /** Not 0 for tickets of one's own channels, which are free to oneself while they are blocked. */
  kept: Uint8Array;
  /** Seats to be pointed out. */
  hints: ReadonlySet<number>;
  pointed: number;
  /** Tiers not to be shown as available, from the legend's filter; empty for none. */
  muted: ReadonlySet<number>;
  /** Only seats with all these marks are shown as available; 0 for any. */
  only: number;
}

/**
 * The whole plan as a picture of one small square a seat, written pixel by
 * pixel; changed seats are painted over, so a delta costs nothing.
 */
export class Picture {
  readonly canvas = document.createElement('canvas');
  private readonly scale: number;
  private readonly side: number;
  private readonly context: CanvasRenderingContext2D;
  private readonly pixels: Uint32Array;
  private readonly image: ImageData;
  private readonly words = new Map<string, number>();
  private stale = true;

  constructor(private readonly plan: Plan) {
    this.scale = Math.min(5 / plan.spacing, 2400 / Math.max(plan.width, plan.height));
    this.canvas.width = Math.max(1, Math.ceil(plan.width * this.scale));
    this.canvas.height = Math.max(1, Math.ceil(plan.height * this.scale));
    this.side = Math.max(1, Math.round(plan.spacing * this.scale * 0.72));
    this.context = this.canvas.getContext('2d')!;
    this.image = this.context.createImageData(this.canvas.width, this.canvas.height);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  /** A CSS colour as one pixel's 32 bits. */
  private word(colour: string): number {
    let w = this.words.get(colour);
    if (w === undefined) {
      const c = document.createElement('canvas');
      c.width = c.height = 1;
      const x = c.getContext('2d', { willReadFrequently: true })!;
      x.fillStyle = colour;
      x.fillRect(0, 0, 1, 1);
      w = new Uint32Array(x.getImageData(0, 0, 1, 1).data.buffer)[0]!;
      this.words.set(colour, w);
    }
    return w;
  }

  paint(seats: Iterable<number> | null, m: Marks, c: Colours): void {
    const { x, y, total } = this.plan, { width, height } = this.canvas, n = this.side, half = n / 2;
    const one = (i: number): void => {
      if (Number.isNaN(x[i]!)) return;
      const w = this.word(seatColour(this.plan, i, m, c));
      const left = Math.max(0, Math.round(x[i]! * this.scale - half)), top = Math.max(0, Math.round(y[i]! * this.scale - half));
      const right = Math.min(width, left + n), bottom = Math.min(height, top + n);
      for (let r = top; r < bottom; r++) this.pixels.fill(w, r * width + left, r * width + right);
    };
    if (seats) for (const i of seats) one(i);
    else for (let i = 0; i < total; i++) one(i);
    this.stale = true;
  }

  draw(to: CanvasRenderingContext2D, x: number, y: number, k: number): void {
    if (this.stale) this.context.putImageData(this.image, 0, 0);
    this.stale = false;
    to.drawImage(this.canvas, x, y, (this.canvas.width / this.scale) * k, (this.canvas.height / this.scale) * k);
  }
}

const free = (m: Marks, i: number): boolean => m.status[i] === available || (m.status[i] === blocked && !!m.kept[i]);

/** Whether the legend's filters let a seat be seen as free. */
const shown = (p: Plan, m: Marks, i: number): boolean => !m.muted.has(p.tier[i]!) && (p.marks[i]! & m.only) === m.only;

function seatColour(p: Plan, i: number, m: Marks, c: Colours): string {
  if (m.chosen.has(i) || m.mine.has(i)) return c.ink;
  if (!free(m, i) || !shown(p, m, i)) return m.status[i] === held ? c.soft : c.gone;
  return p.tiers[p.tier[i]!]?.color ?? c.accent;
}

/** Draws the plan as seen from `v` into a window of width × height CSS pixels. */
export function paint(g: CanvasRenderingContext2D, p: Plan, pic: Picture, v: View, width: number, height: number, m: Marks, c: Colours): void {
  g.fillStyle = c.ground;
  g.fillRect(0, 0, width, height);
  for (const a of p.areas) area(g, a, v, c);
  general(g, p, v, m, c);
  const size = p.spacing * v.k;
  if (size < picture) {
    g.imageSmoothingQuality = 'high';
    pic.draw(g, v.x, v.y, v.k);
  } else seats(g, p, v, width, height, size, m, c);
  sectionNames(g, p, v, width, height, size, c);
  for (const i of m.chosen) if (size < closeUp) ring(g, p, i, v, Math.max(4, size * 0.6), c);
  for (const i of m.mine) if (size < closeUp) ring(g, p, i, v, Math.max(4, size * 0.6), c);
  for (const i of m.hints) {
    ring(g, p, i, v, Math.max(5, size * 0.5), c, c.ground, 5);
    ring(g, p, i, v, Math.max(5, size * 0.5), c, c.ink, 3);
  }
  if (m.pointed >= 0) ring(g, p, m.pointed, v, Math.max(6, size * 0.62), c);
}

function ring(g: CanvasRenderingContext2D, p: Plan, i: number, v: View, r: number, c: Colours, colour = c.ink, wide = 2): void {
  if (Number.isNaN(p.x[i]!)) return;
  g.beginPath();
  g.arc(p.x[i]! * v.k + v.x, p.y[i]! * v.k + v.y, r, 0, 7);
  g.lineWidth = wide;
  g.strokeStyle = colour;
  g.stroke();
}

/** Seats in sight, gathered by look so that each look is one path. */
function seats(g: CanvasRenderingContext2D, p: Plan, v: View, width: number, height: number, size: number, m: Marks, c: Colours): void {
  const looks = new Map<string, number[]>(), gone: number[] = [], taken: number[] = [], shut: number[] = [], own: number[] = [];
  const pad = p.spacing;
  p.grid.within(-v.x / v.k - pad, -v.y / v.k - pad, (width - v.x) / v.k + pad, (height - v.y) / v.k + pad, (i) => {
    if (m.chosen.has(i) || m.mine.has(i)) own.push(i);
    else if (free(m, i) && shown(p, m, i)) {
      const look = p.tiers[p.tier[i]!]?.color ?? c.accent;
      const list = looks.get(look);
      if (list) list.push(i);
      else looks.set(look, [i]);
    } else if (m.status[i] === held) taken.push(i);
    else if (m.status[i] === blocked) shut.push(i);
    else gone.push(i);
  });
  const r = size * 0.41, X = (i: number): number => p.x[i]! * v.k + v.x, Y = (i: number): number => p.y[i]! * v.k + v.y;
  if (size < closeUp) {
    const fill = (list: number[], colour: string, side: number): void => {
      g.fillStyle = colour;
      for (const i of list) g.fillRect(X(i) - side / 2, Y(i) - side / 2, side, side);
    };
    // The state shows in the size as well: free seats are the largest squares.
    fill(gone, c.gone, size * 0.36);
    fill(shut, c.gone, size * 0.36);
    fill(taken, c.soft, size * 0.55);
    for (const [colour, list] of looks) fill(list, colour, size * 0.8);
    fill(own, c.ink, size * 0.8);
    return;
  }
  const disc = (i: number, radius: number): void => {
    g.moveTo(X(i) + radius, Y(i));
    g.arc(X(i), Y(i), radius, 0, 7);
  };
  // Sold: a small cross. Not on general sale: a dash. Held by others: a ring. Free: a full disc, kept for oneself: a
  // diamond. Own: a disc with a tick.
  g.lineWidth = Math.max(1.2, size * 0.07);
  g.strokeStyle = c.soft;
  g.beginPath();
  const d = r * 0.42;
  for (const i of gone) {
    g.moveTo(X(i) - d, Y(i) - d);
    g.lineTo(X(i) + d, Y(i) + d);
    g.moveTo(X(i) + d, Y(i) - d);
    g.lineTo(X(i) - d, Y(i) + d);
  }
  for (const i of shut) {
    g.moveTo(X(i) - r * 0.5, Y(i));
    g.lineTo(X(i) + r * 0.5, Y(i));
  }
  g.stroke();
  g.beginPath();
  for (const i of taken) disc(i, r * 0.8);
  g.stroke();
  for (const [colour, list] of looks) {
    g.fillStyle = colour;
    g.beginPath();
    for (const i of list) {
      if (m.status[i] === available) disc(i, r);
      else {
        const d = r * 1.2;
        g.moveTo(X(i), Y(i) - d);
        g.lineTo(X(i) + d, Y(i));
        g.lineTo(X(i), Y(i) + d);
        g.lineTo(X(i) - d, Y(i));
        g.closePath();
      }
    }
    g.fill();
  }
  const seen = [...own];
  for (const [, list] of looks) for (const i of list) seen.push(i);
  signs(g, p, seen, X, Y, r, c);
  g.fillStyle = c.ink;
  g.beginPath();
  for (const i of own) disc(i, r * 1.12);
  g.fill();
  g.strokeStyle = c.ground;
  g.lineWidth = Math.max(1.5, size * 0.1);
  g.beginPath();
  for (const i of own) {
    g.moveTo(X(i) - r * 0.45, Y(i) + r * 0.05);
    g.lineTo(X(i) - r * 0.1, Y(i) + r * 0.4);
    g.lineTo(X(i) + r * 0.5, Y(i) - r * 0.35);
  }
  g.stroke();
  if (size < numbers) return;
  g.font = `600 ${Math.min(13, size * 0.42)}px ${c.font}`;
  g.textAlign = 'center';
  g.textBaseline = 'middle';
  for (const [colour, list] of looks) {
    g.fillStyle = legible(colour);
    for (const i of list) {
      const row = p.rows[p.row[i]!];
      if (row) g.fillText(row.seats[i - row.first]!, X(i), Y(i));
    }
  }
  // Row names stand before the first seat and after the last.
  g.fillStyle = c.soft;
  for (const row of p.rows) {
    const a = row.first, b = row.first + row.seats.length - 1;
    const step = b > a ? 1 : 0, dx = step ? p.x[a]! - p.x[a + 1]! : -p.spacing, dy = step ? p.y[a]! - p.y[a + 1]! : 0;
    const n = Math.hypot(dx, dy) || 1, px = X(a) + (dx / n) * size, py = Y(a) + (dy / n) * size;
    if (px > -20 && px < width + 20 && py > -20 && py < height + 20) g.fillText(row.name, px, py);
  }
}

/**
 * What is special about seats, by shape: a square around accessible ones, a plus beside those for companions, a triangle
 * on top of a restricted view, a bar below the aisle's. Each has a border of the ground, so that it is seen on any colour.
 */
function signs(g: CanvasRenderingContext2D, p: Plan, list: number[], X: (i: number) => number, Y: (i: number) => number, r: number, c: Colours): void {
  const trace = (mark: number, one: (x: number, y: number) => void): boolean => {
    g.beginPath();
    let some = false;
    for (const i of list) {
      if (!(p.marks[i]! & mark)) continue;
      some = true;
      one(X(i), Y(i));
    }
    return some;
  };
  const wide = Math.max(1.3, r * 0.16), both = (): void => {
    g.lineWidth = wide * 2.4;
    g.strokeStyle = c.ground;
    g.stroke();
    g.lineWidth = wide;
    g.strokeStyle = c.ink;
    g.stroke();
  };
  const side = r * 1.06, at = r * 0.7, arm = r * 0.38;
  if (trace(accessible, (x, y) => g.rect(x - side, y - side, 2 * side, 2 * side))) both();
  if (trace(companion, (x, y) => {
    g.moveTo(x + at - arm, y - at);
    g.lineTo(x + at + arm, y - at);
    g.moveTo(x + at, y - at - arm);
    g.lineTo(x + at, y - at + arm);
  })) both();
  if (trace(aisle, (x, y) => {
    g.moveTo(x - r * 0.6, y + r * 1.2);
    g.lineTo(x + r * 0.6, y + r * 1.2);
  })) {
    g.lineWidth = wide;
    g.strokeStyle = c.soft;
    g.stroke();
  }
  if (trace(restricted, (x, y) => {
    g.moveTo(x, y - r * 1.25);
    g.lineTo(x + arm, y - r * 0.65);
    g.lineTo(x - arm, y - r * 0.65);
    g.closePath();
  })) {
    both();
    g.fillStyle = c.ink;
    g.fill();
  }
}

/** Black or white, whichever reads better on the colour (#rgb or #rrggbb; else white). */
export function legible(colour: string): string {
  const h = colour.length === 4 ? colour.replace(/[\da-f]/gi, '$&$&') : colour;
  if (!/^#[\da-f]{6}$/i.test(h)) return '#fff';
  const l = [1, 3, 5].map((at) => {
    const s = parseInt(h.slice(at, at + 2), 16) / 255;
    return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * l[0]! + 0.7152 * l[1]! + 0.0722 * l[2]! > 0.179 ? '#000' : '#fff';
}

/** The plan's own shapes: stage, walls, texts. */
function area(g: CanvasRenderingContext2D, a: PlanArea, v: View, c: Colours): void {
  const x = a.x * v.k + v.x, y = a.y * v.k + v.y, w = (a.width ?? 0) * v.k, h = (a.height ?? 0) * v.k;
  const [rx, ry] = typeof a.radius === 'number' ? [a.radius, a.radius] : a.radius ? [a.radius.x, a.radius.y] : [(a.width ?? 0) / 2, (a.height ?? 0) / 2];
  let cx = x, cy = y;
  g.beginPath();
  if (a.kind === 'rectangle') {
    g.roundRect(x, y, w, h, Math.min(8, w / 8));
    cx = x + w / 2;
    cy = y + h / 2;
  } else if (a.kind === 'circle' || a.kind === 'ellipse') g.ellipse(x, y, rx * v.k, ry * v.k, 0, 0, 7);
  else if (a.kind === 'polygon' && a.points?.length) {
    // Points are relative to the area's own corner.
    const xs = a.points.map((q) => (q[0] + a.x) * v.k + v.x), ys = a.points.map((q) => (q[1] + a.y) * v.k + v.y);
    xs.forEach((px, i) => g.lineTo(px, ys[i]!));
    g.closePath();
    cx = (Math.min(...xs) + Math.max(...xs)) / 2;
    cy = (Math.min(...ys) + Math.max(...ys)) / 2;
  }
  if (a.kind !== 'text') {
    g.fillStyle = c.line;
    g.fill();
  }
  if (a.text) label(g, a.text, cx, cy, Math.max(11, Math.min(22, 16 * v.k * 2)), c.soft, c);
}

/** General admission: one block with its name and how many are left. */
function general(g: CanvasRenderingContext2D, p: Plan, v: View, m: Marks, c: Colours): void {
  for (const [index, s] of p.sections.entries()) {
    if (s.kind !== 'ga' || !s.area) continue;
    let left = 0, own = m.areas.get(index) ?? 0;
    for (let i = s.first; i < s.first + s.count; i++) {
      if (m.mine.has(i)) own++;
      else if (free(m, i)) left++;
    }
    const x = s.area.x * v.k + v.x, y = s.area.y * v.k + v.y, w = s.area.width * v.k, h = s.area.height * v.k;
    const colour = p.tiers[s.tier ?? 0]?.color ?? c.accent;
    g.beginPath();
    g.roundRect(x, y, w, h, Math.min(10, w / 10));
    g.globalAlpha = 0.18;
    g.fillStyle = left && !m.muted.has(s.tier ?? 0) ? colour : c.gone;
    g.fill();
    g.globalAlpha = 1;
    g.lineWidth = own ? 3 : 1.5;
    g.strokeStyle = own ? c.ink : colour;
    g.stroke();
    if (w > 50) {
      const size = Math.max(11, Math.min(20, w / 10));
      label(g, s.name, x + w / 2, y + h / 2 - size * 0.6, size, c.ink, c);
      label(g, own ? `${own} yours` : left ? `${left} left` : 'none left', x + w / 2, y + h / 2 + size * 0.7, size * 0.8, c.soft, c);
      if (s.entrance && h > size * 5) label(g, s.entrance, x + w / 2, y + h / 2 + size * 1.8, size * 0.7, c.soft, c);
    }
  }
}

function label(g: CanvasRenderingContext2D, text: string, x: number, y: number, size: number, colour: string, c: Colours): void {
  g.font = `600 ${size}px ${c.font}`;
  g.textAlign = 'center';
  g.textBaseline = 'middle';
  g.fillStyle = colour;
  g.fillText(text, x, y);
}

/** Names of sections over the picture, while seats are small and the name fits its section. */
function sectionNames(g: CanvasRenderingContext2D, p: Plan, v: View, width: number, height: number, size: number, c: Colours): void {
  if (size >= closeUp) return;
  g.font = `650 ${size < picture ? 12 : 13}px ${c.font}`;
  g.textAlign = 'center';
  g.textBaseline = 'middle';
  const placed: [number, number, number][] = [];
  for (const s of p.sections) {
    if (s.kind === 'ga' || !s.label) continue;
    const x = s.label.x * v.k + v.x, y = s.label.y * v.k + v.y;
    if (x < -40 || y < -20 || x > width + 40 || y > height + 20) continue;
    const w = g.measureText(s.name).width + 12;
    if (placed.some(([px, py, pw]) => Math.abs(px - x) < (pw + w) / 2 && Math.abs(py - y) < 22)) continue;
    placed.push([x, y, w]);
    g.globalAlpha = 0.88;
    g.fillStyle = c.ground;
    g.beginPath();
    g.roundRect(x - w / 2, y - 10, w, 20, 10);
    g.fill();
    g.globalAlpha = 1;
    g.fillStyle = c.ink;
    g.fillText(s.name, x, y + 0.5);
  }
}
