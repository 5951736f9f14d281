/**
 * A uniform grid over points for hit tests and culling: points sorted by cell,
 * with the start of each cell in one array. No allocation per query.
 */
export class Grid {
  private readonly columns: number;
  private readonly rows: number;
  private readonly starts: Uint32Array;
  private readonly items: Uint32Array;

  /** Points whose x is NaN are left out. `cell` is the side of a cell in plan units. */
  constructor(private readonly x: Float32Array, private readonly y: Float32Array, width: number, height: number, private readonly cell: number) {
    this.columns = Math.max(1, Math.ceil(width / cell));
    this.rows = Math.max(1, Math.ceil(height / cell));
    this.starts = new Uint32Array(this.columns * this.rows + 1);
    let n = 0;
    for (let i = 0; i < x.length; i++) {
      if (Number.isNaN(x[i]!)) continue;
      this.starts[this.at(x[i]!, y[i]!) + 1]!++;
      n++;
    }
    for (let c = 1; c < this.starts.length; c++) this.starts[c]! += this.starts[c - 1]!;
    const next = this.starts.slice();
    this.items = new Uint32Array(n);
    for (let i = 0; i < x.length; i++) if (!Number.isNaN(x[i]!)) this.items[next[this.at(x[i]!, y[i]!)]!++] = i;
  }

  private column(x: number): number { return Math.min(this.columns - 1, Math.max(0, Math.floor(x / this.cell))); }
  private row(y: number): number { return Math.min(this.rows - 1, Math.max(0, Math.floor(y / this.cell))); }
  private at(x: number, y: number): number { return this.row(y) * this.columns + this.column(x); }

  /** The point nearest to (x, y) within radius r, or -1. */
  nearest(x: number, y: number, r: number): number {
    let best = -1, bestDistance = r * r;
    this.within(x - r, y - r, x + r, y + r, (i) => {
      const dx = this.x[i]! - x, dy = this.y[i]! - y, d = dx * dx + dy * dy;
      if (d <= bestDistance) {
        bestDistance = d;
        best = i;
      }
    });
    return best;
  }

  /** Visits every point of the cells the rectangle touches: at least all points inside it. */
  within(left: number, top: number, right: number, bottom: number, visit: (i: number) => void): void {
    const c0 = this.column(left), c1 = this.column(right), r1 = this.row(bottom);
    for (let r = this.row(top); r <= r1; r++) {
      const end = this.starts[r * this.columns + c1 + 1]!;
      for (let k = this.starts[r * this.columns + c0]!; k < end; k++) visit(this.items[k]!);
    }
  }
}
