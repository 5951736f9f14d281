import { type Colours, type Marks, closeUp, paint, Picture } from './paint';
import type { Plan } from './plan';
import { around, fit, keepInside, type View, zoomAt } from './view';

export interface SeatMapEvents {
  /** A seat, or with `section` a general-admission area, was picked by pointer or Enter. */
  pick: (ordinal: number) => void;
  pickArea: (section: number) => void;
  /** The seat under the pointer or the keyboard's cross hair changed; -1 for none. At CSS px within the map. */
  point: (ordinal: number, x: number, y: number) => void;
}

const still = 160; // ms without movement after which the map is drawn sharp

/**
 * The map on a canvas: pan by drag, wheel or arrow keys, zoom by wheel, pinch,
 * buttons or + and -, Enter picks the seat in the middle. Draws only when
 * something changed, in one animation frame, and at one device pixel per CSS
 * pixel while moving.
 */
export class SeatMap {
  private readonly g: CanvasRenderingContext2D;
  private readonly picture: Picture;
  private view: View = { k: 1, x: 0, y: 0 };
  private width = 0;
  private height = 0;
  private colours: Colours;
  private readonly marks: Marks;
  private frame = 0;
  private moving = false;
  private settle: ReturnType<typeof setTimeout> | undefined;
  private readonly pointers = new Map<number, { x: number; y: number }>();
  private travelled = 0;
  private crossHair = false;
  private fitted = true;
  private readonly gone = new AbortController();
  private readonly size: ResizeObserver;

  constructor(private readonly canvas: HTMLCanvasElement, private readonly plan: Plan, status: Uint8Array, private readonly on: SeatMapEvents) {
    this.g = canvas.getContext('2d', { alpha: false })!;
    this.picture = new Picture(plan);
    this.colours = readColours(canvas);
    this.marks = { status, chosen: new Set(), mine: new Set(), areas: new Map(), kept: new Uint8Array(0), hints: new Set(), pointed: -1, muted: new Set(), only: 0 };
    this.picture.paint(null, this.marks, this.colours);
    this.size = new ResizeObserver(() => this.resize());
    this.size.observe(canvas);
    this.listen();
    this.resize();
  }

  close(): void {
    this.gone.abort();
    this.size.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.settle);
  }

  /** Replaces every status, after a snapshot. */
  setStatus(status: Uint8Array): void {
    this.marks.status = status;
    this.repaint(null);
  }

  /** Redraws seats whose status changed in the array given before. */
  changed(ordinals: Iterable<number>): void {
    this.repaint(ordinals);
  }

  /** Seats chosen, seats held, and how many tickets of which section are chosen. */
  setOwn(chosen: ReadonlySet<number>, mine: ReadonlySet<number>, areas: ReadonlyMap<number, number>): void {
    const touched = [...this.marks.chosen, ...this.marks.mine, ...chosen, ...mine];
    this.marks.chosen = chosen;
    this.marks.mine = mine;
    this.marks.areas = areas;
    this.repaint(touched);
  }

  /** Says which tickets are kept for oneself. */
  setKept(kept: Uint8Array): void {
    this.marks.kept = kept;
    this.repaint(null);
  }

  /** Points seats out. */
  hint(seats: ReadonlySet<number>): void {
    this.marks.hints = seats;
    this.draw();
  }

  /** Shows only tiers not in the set as free, and of these only seats with all the marks. */
  mute(tiers: ReadonlySet<number>, only: number): void {
    this.marks.muted = tiers;
    this.marks.only = only;
    this.repaint(null);
  }

  zoom(factor: number): void {
    this.look(zoomAt(this.view, factor, this.width / 2, this.height / 2, this.min(), this.max()));
  }

  whole(): void {
    this.fitted = true;
    this.look(fit(this.plan.width, this.plan.height, this.width, this.height), true);
  }

  /** Moves so that the seats fill the window. */
  show(ordinals: number[]): void {
    const on = ordinals.filter((i) => !Number.isNaN(this.plan.x[i]!));
    if (!on.length) return;
    this.look(around(on.map((i) => this.plan.x[i]!), on.map((i) => this.plan.y[i]!), this.width, this.height, 30 / this.plan.spacing));
  }

  private min(): number { return fit(this.plan.width, this.plan.height, this.width, this.height).k * 0.9; }
  private max(): number { return Math.max(46 / this.plan.spacing, this.min() * 2); }

  private look(v: View, whole = false): void {
    this.fitted = whole;
    this.view = keepInside(v, this.plan.width, this.plan.height, this.width, this.height);
    this.moving = true;
    clearTimeout(this.settle);
    this.settle = setTimeout(() => {
      this.moving = false;
      this.draw();
    }, still);
    if (this.crossHair) this.pointAt(this.width / 2, this.height / 2);
    this.draw();
  }

  private resize(): void {
    const { clientWidth, clientHeight } = this.canvas;
    if (!clientWidth || (clientWidth === this.width && clientHeight === this.height)) return;
    this.width = clientWidth;
    this.height = clientHeight;
    if (this.fitted) this.view = fit(this.plan.width, this.plan.height, this.width, this.height);
    this.draw();
  }

  private repaint(seats: Iterable<number> | null): void {
    this.picture.paint(seats, this.marks, this.colours);
    this.draw();
  }

  private draw(): void {
    if (!this.frame) this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.drawNow();
    });
  }

  private drawNow(): void {
    const dpr = this.moving ? 1 : Math.min(3, devicePixelRatio || 1);
    const w = Math.round(this.width * dpr), h = Math.round(this.height * dpr);
    if (this.canvas.width !== w || this.canvas.height !== h) {
      this.canvas.width = w;
      this.canvas.height = h;
    }
    const { g, plan: p, width, height, view: v, colours: c } = this;
    g.setTransform(dpr, 0, 0, dpr, 0, 0);
    paint(g, p, this.picture, v, width, height, this.marks, c);
    if (this.crossHair) {
      g.strokeStyle = c.ink;
      g.lineWidth = 1.5;
      g.beginPath();
      g.moveTo(width / 2 - 14, height / 2);
      g.lineTo(width / 2 + 14, height / 2);
      g.moveTo(width / 2, height / 2 - 14);
      g.lineTo(width / 2, height / 2 + 14);
      g.stroke();
    }
    if (v.k > this.min() * 1.8) this.minimap();
  }

  /** Where the window is within the plan, in the lower left corner. */
  private minimap(): void {
    const { g, plan: p, view: v, width, height, colours: c } = this;
    const k = Math.min(120 / p.width, 90 / p.height, width / 3 / p.width), w = p.width * k, h = p.height * k, x = 10, y = height - h - 10;
    g.fillStyle = c.ground;
    g.strokeStyle = c.line;
    g.lineWidth = 1;
    g.beginPath();
    g.roundRect(x - 4, y - 4, w + 8, h + 8, 6);
    g.fill();
    g.stroke();
    this.picture.draw(g, x, y, k);
    const left = Math.max(0, -v.x / v.k), top = Math.max(0, -v.y / v.k);
    const right = Math.min(p.width, (width - v.x) / v.k), bottom = Math.min(p.height, (height - v.y) / v.k);
    g.strokeStyle = c.accent;
    g.lineWidth = 2;
    g.strokeRect(x + left * k, y + top * k, Math.max(3, (right - left) * k), Math.max(3, (bottom - top) * k));
  }

  private hit(px: number, py: number): number {
    const { k, x, y } = this.view;
    // A finger is wider than a small seat: at least 10 CSS px around the point.
    return this.plan.grid.nearest((px - x) / k, (py - y) / k, Math.max(this.plan.spacing * 0.55, Math.min(10 / k, this.plan.spacing * 2)));
  }

  private areaAt(px: number, py: number): number {
    const x = (px - this.view.x) / this.view.k, y = (py - this.view.y) / this.view.k;
    return this.plan.sections.findIndex((s) => s.area && x >= s.area.x && y >= s.area.y && x <= s.area.x + s.area.width && y <= s.area.y + s.area.height);
  }

  private pointAt(px: number, py: number): void {
    const i = this.hit(px, py);
    if (i === this.marks.pointed) return;
    this.marks.pointed = i;
    this.on.point(i, i < 0 ? px : this.plan.x[i]! * this.view.k + this.view.x, i < 0 ? py : this.plan.y[i]! * this.view.k + this.view.y);
    this.draw();
  }

  private pickAt(px: number, py: number): void {
    const i = this.hit(px, py);
    // From afar a tap means "go there"; a seat is picked once it can be told from its neighbours.
    if (i >= 0 && this.plan.spacing * this.view.k < closeUp * 0.8) {
      const factor = 24 / (this.plan.spacing * this.view.k);
      this.look(zoomAt({ ...this.view, x: this.view.x + this.width / 2 - px, y: this.view.y + this.height / 2 - py }, factor, this.width / 2, this.height / 2, this.min(), this.max()));
    } else if (i >= 0) this.on.pick(i);
    else {
      const s = this.areaAt(px, py);
      if (s >= 0) this.on.pickArea(s);
    }
  }

  private listen(): void {
    const { canvas } = this, o = { signal: this.gone.signal };
    const at = (e: MouseEvent): { x: number; y: number } => {
      const b = canvas.getBoundingClientRect();
      return { x: e.clientX - b.left, y: e.clientY - b.top };
    };
    canvas.addEventListener('wheel', (e) => {
      e.preventDefault();
      const { x, y } = at(e);
      const step = e.deltaMode === 1 ? 16 : 1;
      if (e.shiftKey) this.look({ ...this.view, x: this.view.x - (e.deltaX + e.deltaY) * step });
      else this.look(zoomAt(this.view, Math.exp(-e.deltaY * step * (e.ctrlKey ? 0.01 : 0.0022)), x, y, this.min(), this.max()));
    }, { ...o, passive: false });
    canvas.addEventListener('pointerdown', (e) => {
      if (e.button) return;
      canvas.setPointerCapture(e.pointerId);
      if (!this.pointers.size) this.travelled = 0;
      this.pointers.set(e.pointerId, at(e));
      this.crossHair = false;
    }, o);
    canvas.addEventListener('pointermove', (e) => {
      const p = at(e), before = this.pointers.get(e.pointerId);
      if (!before) return e.pointerType === 'touch' ? undefined : this.pointAt(p.x, p.y);
      const other = [...this.pointers].find(([id]) => id !== e.pointerId)?.[1];
      this.pointers.set(e.pointerId, p);
      this.travelled += Math.hypot(p.x - before.x, p.y - before.y);
      if (this.travelled < 6) return;
      let v = { ...this.view };
      if (other) {
        const was = Math.hypot(before.x - other.x, before.y - other.y), is = Math.hypot(p.x - other.x, p.y - other.y);
        const mx = (p.x + other.x) / 2, my = (p.y + other.y) / 2;
        v = zoomAt({ ...v, x: v.x + (p.x - before.x) / 2, y: v.y + (p.y - before.y) / 2 }, is / Math.max(1, was), mx, my, this.min(), this.max());
      } else v = { ...v, x: v.x + p.x - before.x, y: v.y + p.y - before.y };
      this.look(v);
    }, o);
    const up = (e: PointerEvent): void => {
      if (!this.pointers.delete(e.pointerId) || this.pointers.size || e.type === 'pointercancel' || this.travelled >= 6) return;
      const p = at(e);
      this.pointAt(p.x, p.y);
      this.pickAt(p.x, p.y);
    };
    canvas.addEventListener('pointerup', up, o);
    canvas.addEventListener('pointercancel', up, o);
    canvas.addEventListener('pointerleave', () => {
      if (!this.crossHair) this.pointAt(-1e9, -1e9);
    }, o);
    canvas.addEventListener('keydown', (e) => {
      const step = 60;
      const { view: v } = this;
      switch (e.key) {
        case 'ArrowLeft': this.keyed({ ...v, x: v.x + step }); break;
        case 'ArrowRight': this.keyed({ ...v, x: v.x - step }); break;
        case 'ArrowUp': this.keyed({ ...v, y: v.y + step }); break;
        case 'ArrowDown': this.keyed({ ...v, y: v.y - step }); break;
        case '+': case '=': this.keyed(zoomAt(v, 1.4, this.width / 2, this.height / 2, this.min(), this.max())); break;
        case '-': this.keyed(zoomAt(v, 1 / 1.4, this.width / 2, this.height / 2, this.min(), this.max())); break;
        case '0': this.whole(); break;
        case 'Enter': case ' ': this.pickAt(this.width / 2, this.height / 2); break;
        default: return;
      }
      e.preventDefault();
    }, o);
    canvas.addEventListener('blur', () => {
      this.crossHair = false;
      this.pointAt(-1e9, -1e9);
      this.draw();
    }, o);
    for (const q of ['(prefers-color-scheme: dark)', '(forced-colors: active)']) {
      matchMedia(q).addEventListener('change', () => {
        this.colours = readColours(canvas);
        this.repaint(null);
      }, o);
    }
  }

  private keyed(v: View): void {
    this.crossHair = true;
    this.look(v);
  }
}

/** The page's colours, so that the map follows dark mode and forced colours. */
function readColours(canvas: HTMLElement): Colours {
  const s = getComputedStyle(canvas), v = (n: string): string => s.getPropertyValue(n).trim();
  return {
    ground: v('--card'), ink: v('--ink'), soft: v('--soft'), line: v('--line'), gone: v('--gone'), accent: v('--accent'), on: v('--on'),
    font: s.fontFamily || 'system-ui',
  };
}
