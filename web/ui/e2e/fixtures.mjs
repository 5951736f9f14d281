// One believable event with a seating plan of about 15,000 seats, and the documents the API answers with.
export const id = '0190a3b2-7c4d-7e8f-9a0b-1c2d3e4f5a6b';
export const start = new Date('2027-02-01T10:00:00Z');
const eur = (amount) => ({ amount, currency: 'EUR' });
export const after = (seconds, from = start) => new Date(from.getTime() + seconds * 1000).toISOString();

const tierColours = ['#7c3aed', '#2563eb', '#0d9488', '#d97706'];
const tierNames = ['Front', 'Lower ring', 'Upper ring', 'Floor standing'];
export const tiers = tierNames.map((name, i) => ({ id: `tier-${i}`, name, type: ['front', 'lower', 'accessible', 'standing'][i], color: tierColours[i], price: eur([12900, 8900, 5900, 7500][i]) }));

export const event = {
  id, name: 'Nordlicht: Winter Tour', type: 'concert', starts_at: '2027-03-01T19:00:00Z', doors_at: '2027-03-01T17:30:00Z', status: 'on_sale',
  venue: { id: 'v1', name: 'Hafen Arena', address: 'Am Kai 1', city: 'Hamburg', country: 'DE' },
  artists: [{ id: 'a1', name: 'Nordlicht' }, { id: 'a2', name: 'Die Gezeiten' }],
  tiers: tiers.map((t, i) => ({ id: t.id, name: t.name, type: 'seat', price: t.price, total: [1600, 5200, 8000, 600][i], available: [212, 2100, 6020, 288][i] })),
  tickets: { total: 15400, available: 8620, held: 310, sold: 6470 }, max_per_buyer: 6, room: { state: 'open' },
};
export const events = [
  event,
  { ...event, id: '0190a3b2-7c4d-7e8f-9a0b-1c2d3e4f0002', name: 'Der Kirschgarten', type: 'theatre', artists: [{ id: 'a3', name: 'Ensemble am Fluss' }], venue: { ...event.venue, name: 'Stadttheater', city: 'Köln' }, starts_at: '2027-03-12T18:30:00Z', tickets: { total: 1980, available: 640, held: 12, sold: 1328 }, room: { state: 'lobby' } },
  { ...event, id: '0190a3b2-7c4d-7e8f-9a0b-1c2d3e4f0003', name: 'Kellerklub: Late Set', type: 'club', artists: [{ id: 'a4', name: 'DJ Flussgold' }], venue: { ...event.venue, name: 'Kellerklub', city: 'Berlin' }, starts_at: '2027-04-02T21:00:00Z', status: 'sold_out', tickets: { total: 600, available: 0, held: 0, sold: 600 }, room: { state: 'closed' } },
];

/** Rings of blocks around a stage, and a standing floor. */
function makePlan() {
  const width = 2400, height = 2000, cx = 1200, cy = 1050, sections = [];
  let ordinal = 0;
  const block = (name, tier, from, to, radius, rows) => {
    const s = { id: `s${sections.length}`, name, kind: 'seated', first: ordinal, count: 0, label: null, rows: [] };
    for (let r = 0; r < rows; r++) {
      const R = radius + r * 12, n = Math.floor(((to - from) * R) / 10.5), x = [], y = [], seats = [];
      for (let i = 0; i < n; i++) {
        const a = from + ((i + 0.5) / n) * (to - from);
        x.push(Math.round((cx + R * 1.12 * Math.cos(a)) * 10) / 10);
        y.push(Math.round((cy + R * 0.92 * Math.sin(a)) * 10) / 10);
        seats.push(String(i + 1));
      }
      s.rows.push({ name: String(r + 1), first: ordinal, x, y, seats, tiers: [tier, n] });
      ordinal += n;
      s.count += n;
    }
    const a = (from + to) / 2, R = radius + rows * 6;
    s.label = { x: cx + R * 1.12 * Math.cos(a), y: cy + R * 0.92 * Math.sin(a) };
    sections.push(s);
  };
  const gap = 0.02, open = -Math.PI / 2 + 0.55, sweep = 2 * Math.PI - 1.1;
  for (let i = 0; i < 8; i++) block(`${101 + i}`, 0, open + (i * sweep) / 8 + gap, open + ((i + 1) * sweep) / 8 - gap, 370, 11);
  for (let i = 0; i < 14; i++) block(`${201 + i}`, 1, open + (i * sweep) / 14 + gap, open + ((i + 1) * sweep) / 14 - gap, 530, 20);
  for (let i = 0; i < 18; i++) block(`${301 + i}`, 2, open + (i * sweep) / 18 + gap, open + ((i + 1) * sweep) / 18 - gap, 810, 17);
  sections.push({ id: 'floor', name: 'Floor', kind: 'ga', tier: 3, first: ordinal, count: 600, label: null, area: { x: 950, y: 850, width: 500, height: 400 } });
  ordinal += 600;
  return {
    event: id, version: '1', width, height, unit: 'plan px', tiers, sections,
    areas: [{ kind: 'rectangle', x: 960, y: 640, width: 480, height: 130, text: 'Stage', color: '#888888' }],
    total: ordinal,
  };
}
export const plan = makePlan();
export const total = plan.total;
plan.total = undefined;

/** The status of every ticket, the same at each run: about half are gone. */
export function statuses() {
  const s = new Uint8Array(total);
  let x = 12345;
  for (let i = 0; i < total; i++) {
    x = (x * 1103515245 + 12345) & 0x7fffffff;
    const v = (x >> 8) % 100;
    s[i] = v < 45 ? 2 : v < 50 ? 1 : 0;
  }
  return s;
}
export function packed(s) {
  const out = Buffer.alloc(Math.ceil(s.length / 4));
  s.forEach((v, i) => { out[i >> 2] |= v << ((i & 3) * 2); });
  return out.toString('base64');
}
export const snapshot = (s = statuses(), seq = 7) => ({ type: 'snapshot', seq, total: s.length, status: packed(s) });

export const room = (more = {}) => ({ state: 'open', name: event.name, waiting: 5021, admitting_per_minute: 300, message: null, opens_at: null, lobby_opens_at: null, stock_left: 8123, reason: null, closed_reason: null, order: 'fifo', ...more });
export const me = (more = {}, roomMore = {}) => ({
  visitor: 'vis', state: 'waiting', lane: 'general', index: null, chance: null, place: 1234, ahead: 1233, wait: { low_s: 240, high_s: 420 }, room: room(roomMore),
  receipt: 'receipt-1', claim_by: null, lease_ends: null, pass: null, poll_after_ms: 5000, as_of: after(0), ...more,
});

export function ticket(ordinal) {
  const s = plan.sections.find((x) => ordinal >= x.first && ordinal < x.first + x.count), row = s.rows?.find((r) => ordinal >= r.first && ordinal < r.first + r.seats.length);
  const tier = tiers[row ? row.tiers[0] : s.tier];
  return { id: `t${ordinal}`, ordinal, section: s.name, row: row?.name ?? '', seat: row ? row.seats[ordinal - row.first] : '', type: 'seat', tier: tier.name, price: tier.price };
}
/** What tickets cost, with as much off each and the event's fees and tax. */
export function price(tickets, { promo = null, off = 0, fee = 150, orderFee = 200, tax = { name: 'VAT', percent: '7', included: true } } = {}) {
  const rate = tax ? +tax.percent : 0, of = (n) => Math.round(tax?.included ? (n * rate) / (100 + rate) : (n * rate) / 100);
  const total = (n) => n + (tax?.included ? 0 : of(n)), sum = (list) => eur(list.reduce((a, n) => a + n, 0));
  const due = tickets.map((t) => t.price.amount - off + fee);
  return {
    currency: 'EUR', promo, order_fee: eur(orderFee), order_fee_tax: eur(of(orderFee)),
    items: tickets.map((t, i) => ({ ticket: t.id, price: t.price, discount: eur(off), fee: eur(fee), tax: eur(of(due[i])), total: eur(total(due[i])) })),
    subtotal: sum(tickets.map((t) => t.price.amount)), discount: eur(off * tickets.length), fees: eur(fee * tickets.length + orderFee),
    tax: tax && { ...tax, amount: sum([...due.map(of), of(orderFee)]) }, total: sum([...due.map(total), total(orderFee)]),
  };
}
export function hold(ordinals, more = {}) {
  const tickets = ordinals.map(ticket);
  return { hold: 'hold-1', event: id, expires_at: after(420), extensions_left: 2, pinned: false, tickets, total: eur(tickets.reduce((a, t) => a + t.price.amount, 0)), ...more };
}
export function order(status = 'awaiting_payment', more = {}) {
  const h = hold([40, 41]);
  return {
    order: '0190a3b2-7c4d-7e8f-9a0b-aaaaaaaaaaaa', event: id, status, pay_by: after(600), total: h.total,
    items: h.tickets.map((t) => ({ ticket: t.id, section: t.section, row: t.row, seat: t.seat, price: t.price })),
    payment: { gateway: 'sandbox', client_secret: 'cs' }, buyer: { name: 'Ada Example', email: 'ada@example.com' },
    history: [{ at: after(0), status: 'awaiting_payment' }], created_at: after(0), ...more,
  };
}
/** A ticket as its holder has it. */
export const held = (ordinal, more = {}) => {
  const t = ticket(ordinal), admission = `0190a3b2-7c4d-7e8f-9a0b-0000000000${ordinal}`, o = order().order;
  return {
    ticket: t.id, admission, code: `7F3K-Q2MX-00${ordinal}-ABCD`, qr_text: `T1${'0A'.repeat(96)}`, section: t.section, row: t.row, seat: t.seat, tier: t.tier, price: t.price,
    holder: { name: 'Ada Example', email: 'ada@example.com' }, state: 'valid', valid: true, scanned_at: null, rotating: null,
    qr: `/v1/orders/${o}/tickets/${t.id}/qr.png`, pdf: `/v1/orders/${o}/tickets/${t.id}/ticket.pdf`, link: `/t/${admission}#t=holder-${ordinal}`, ...more,
  };
};
/** A ticket that is not the asker's any more. */
export const gone = (ordinal, state, more = {}) => held(ordinal, { state, valid: false, code: '', qr_text: null, rotating: null, qr: '', pdf: '', link: '', ...more });
export const admission = (more = {}) => ({
  ...held(40), qr: '', pdf: '/v1/admissions/x/ticket.pdf', as_of: after(0),
  event: { id, name: event.name, starts_at: event.starts_at, doors_at: event.doors_at ?? null, timezone: event.timezone ?? 'UTC', status: 'on_sale', venue: event.venue }, ...more,
});
export const adminRoom = (more = {}) => ({
  event: id, name: event.name, state: 'open', reason: null, message: null,
  throttle: { rate_per_minute: 300, burst: 50, max_shoppers: 2000, lease_s: 600, claim_window_s: 60, grace_s: 120 },
  order: 'fifo', invite_only: false, bypass: false, challenge: 'off', public_source: null, opens_at: after(-1800), lobby_opens_at: after(-5400), closes_at: null, cutoff: null,
  stock: { available: 8123, held: 410, left: 8533 }, effective_rate_per_minute: 240, no_show_share: 0.124, suspects: 31, away: 212, draw: null,
  autopilot: { enabled: true, min_rate_per_minute: 30, target_p95_ms: 250, max_error_share: 0.02, max_pool_share: 0.8, reason: 'answers took 310 ms (95 %), above 250 ms', changed_at: after(-42) },
  waiting: 5021, ready: 22, shopping: 1180, admitted_total: 9120, joined_total: 14300, admitted_last_minute: 296,
  tickets: { total: 15400, available: 8123, held: 410, sold: 6867 }, wait: { low_s: 840, high_s: 1200 }, ...more,
});
