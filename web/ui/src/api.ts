/**
 * The typed client of the HTTP API: one function per call the pages make.
 * Tokens of visitors and passes travel in HttpOnly cookies and are never seen
 * here; order links and the console pass theirs as a Bearer token.
 */

/** An instant as RFC 3339 text. */
export type Time = string;

/** An amount in the currency's smallest unit (cents for EUR, yen for JPY). */
export interface Money { amount: number; currency: string }

/** What is left, in a word. */
export type Availability = 'available' | 'few_left' | 'sold_out';

export interface Tier { id: string; name: string; type: string; price: Money; total: number; available: number | null; availability?: Availability }

/** A picture somewhere else. Those with one `alt` and one shape are one picture in several sizes. */
export interface Image { url: string; alt: string; width: number; height: number }

export interface Event {
  id: string; name: string; type: string; description?: string; starts_at: Time; doors_at?: Time | null; status: string;
  /** IANA name of the zone the event is in; times are shown in it. */
  timezone?: string;
  venue: { id: string; name: string; address?: string; city: string; country: string };
  artists: { id: string; name: string }[] | null;
  images?: Image[];
  tiers: Tier[];
  /** null while the stock is not known. */
  tickets: { total: number; available: number; held: number; sold: number; blocked?: number; availability?: Availability } | null;
  max_per_buyer: number; single_seats?: SingleSeats;
  /** What is charged besides the prices. */
  fees?: { per_ticket: Money; per_order: Money };
  /** What prices and fees contain, or what comes on top of them; null for none. */
  tax?: Tax | null;
  /** Until when buyers may cancel; null for never. */
  cancellation?: { until_hours: number; keep_fees: boolean } | null;
  room?: { state: RoomState } | null;
  /** The series that it is one of the dates of. */
  series?: { id: string; name: string } | null;
  /** Where the plan can be had that caches keep for good; only of a single event, while it is known. */
  plan_url?: string;
}

/** One of several dates, with what is left of it. */
export type SeriesDate = Pick<Event, 'name' | 'starts_at' | 'timezone' | 'status' | 'tickets'> & { event: string };
/** The other dates of an event's series, as its page has them; `more` are not listed. */
export interface OtherDates { id: string; name: string; dates: SeriesDate[]; more: number }

/** `percent` is a decimal text such as 8.875. */
export interface Tax { name: string; percent: string; included: boolean }

/** What tickets cost together, line by line. */
export interface Price {
  currency: string; items: { ticket: string; price: Money; discount: Money; fee: Money; tax: Money; total: Money }[];
  order_fee: Money; order_fee_tax: Money;
  subtotal: Money; discount: Money; fees: Money; tax: (Tax & { amount: Money }) | null; total: Money;
  promo: string | null;
}

/** What is done about a seat that would stay alone between taken ones. */
export type SingleSeats = 'allow' | 'avoid' | 'refuse';

export type RoomState = 'scheduled' | 'lobby' | 'open' | 'paused' | 'draining' | 'closed';
/** How places are given: by arrival, by a draw at opening, or at random throughout. */
export type LineOrder = 'fifo' | 'draw' | 'random';
/** Why the line stands still. */
export type StandstillReason = 'paused' | 'shop_unavailable' | 'sold_out' | 'all_held' | 'full' | 'draw_pending' | 'restoring' | 'stopped' | 'closed';
/** Bands of priority, first to last. */
export type Lane = 'staff' | 'accessibility' | 'fan' | 'general' | 'suspect';
export type VisitorState = 'lobby' | 'waiting' | 'ready' | 'shopping' | 'done' | 'left' | 'expired' | 'closed';

export interface Room {
  state: RoomState; name?: string; waiting: number; admitting_per_minute: number; message: string | null;
  opens_at: Time | null; lobby_opens_at?: Time | null; stock_left: number | null;
  reason?: StandstillReason | null; closed_reason?: string | null; order?: LineOrder;
}

export interface Me {
  visitor: string; state: VisitorState; place: number | null; ahead: number | null;
  lane?: Lane | null;
  /** Number in the lobby's list, from 1; null elsewhere. */
  index?: number | null;
  chance?: 'unlikely' | null;
  wait: { low_s: number; high_s: number } | null;
  room: Room; receipt?: string | null; claim_by: Time | null; lease_ends: Time | null;
  poll_after_ms: number; as_of: Time;
}

/** The proof of a draw; values are null until they are published. */
export interface Draw {
  event: string; order: 'draw'; algorithm: string; status: 'committed' | 'frozen' | 'drawn';
  /** SHA-256 of the secret, hex. */
  commitment: string;
  public_source: string | null; public_value: string | null;
  n: number | null;
  /** Of the list of people, 40 hex digits. */
  digest: string | null;
  /** The place before the first that is drawn. */
  base: number | null;
  secret: string | null; seed: string | null; drawn_at: Time | null;
  you: { index: number; place: number | null } | null;
}
export interface Handover { code: string; url: string; expires_at: Time }
/** Work a join may be asked for, see queue/pow.ts. */
export interface Answer { token: string; answer: string }
export interface Join { receipt?: string; handover?: string; invite?: string; email?: string; user_token?: string; challenge?: Answer }

export interface PlanRow { name: string; first: number; x: number[]; y: number[]; seats: string[]; tiers: number[]; /** Of special seats: first, how many, which bits, first … */ attributes?: number[] }
export interface PlanSection {
  id: string; name: string; kind: 'seated' | 'ga'; tier?: number; first: number; count: number; entrance?: string;
  label?: { x: number; y: number } | null;
  area?: { x: number; y: number; width: number; height: number } | null;
  rows?: PlanRow[] | null;
}
export interface PlanArea {
  kind: 'rectangle' | 'circle' | 'ellipse' | 'polygon' | 'text'; x: number; y: number;
  width?: number; height?: number; radius?: number | { x: number; y: number }; points?: [number, number][]; text?: string; color?: string;
}
export interface PlanDocument {
  event: string; version: string | number; width: number; height: number;
  tiers: { id: string; name: string; type?: string; color: string; price: Money }[];
  sections: PlanSection[]; areas?: PlanArea[] | null;
}

export interface Snapshot { type?: 'snapshot'; seq: number; total: number; status: string }
export interface Delta { type: 'delta'; seq: number; prev: number; changes: [number, number][] }

export interface HeldTicket {
  id: string; ordinal: number; section: string; row: string; seat: string; type: string; tier: string; price: Money;
  attributes?: string[]; entrance?: string;
}
export interface Hold {
  hold: string; event: string; expires_at: Time; extensions_left: number; pinned: boolean;
  tickets: HeldTicket[]; total: Money; price?: Price;
}
/** Tickets of a general-admission section; `channel` is an id, none for those on general sale. */
export interface AreaRequest { section: string; quantity: number; channel?: string }
export interface BestRequest {
  quantity: number; tier?: string; section?: string; channel?: string;
  /** One accessible seat, and the others beside it. */
  accessible?: boolean;
  /** In groups, where they cannot be had together. */
  split?: boolean;
}
/** Seats, tickets of areas and the best available make one hold. */
export interface HoldRequest { ordinals?: number[]; areas?: AreaRequest[]; best_available?: BestRequest }
export interface HoldChange { add_ordinals?: number[]; drop_ordinals?: number[] }
/** Tickets that are kept for some people, by ordinal, first to last. */
export interface Channel { id: string; name: string; ranges: [number, number][] }

export type OrderStatus =
  | 'awaiting_payment' | 'payment_unknown' | 'paid' | 'fulfilled' | 'declined' | 'expired' | 'cancelled'
  | 'refunded' | 'partially_refunded';
export interface Order {
  order: string; event: string; status: OrderStatus; pay_by: Time | null; total: Money; refunded?: Money;
  items: { ticket: string; section: string; row: string; seat: string; tier?: string; price: Money; returned_at?: Time; attributes?: string[]; entrance?: string }[];
  price?: Price | null;
  payment?: {
    gateway: string; client_secret?: string; publishable_key?: string; reason?: string;
    next_action?: { type: 'redirect' | 'in_page'; url?: string } | null;
  } | null;
  buyer?: { name: string; email: string };
  history?: { at: Time; status: OrderStatus; note?: string }[];
  order_token?: string; link?: string; created_at?: Time;
}
/** What giving an order up, or some of its tickets, would do. */
export interface CancelQuote {
  order: string; allowed: boolean; why: string; until: Time | null; keep_fees: boolean; back: Money;
  tickets: { ticket: string; allowed: boolean; why: string; back: Money }[];
}
/** Which tickets of an order may be exchanged, and what was paid for them. */
export interface ExchangeTerms {
  order: string; allowed: boolean; why: string; until: Time | null;
  tickets: { ticket: string; allowed: boolean; why: string; paid: Money }[];
}
/** Tickets that are held instead of some of an order, and what goes back of the difference. */
export interface ExchangeHold { order: string; tickets: string[]; hold: Hold; paid: Money; cost: Money; back: Money }
/** Where a ticket stands; all but `valid` open no door. */
export type TicketState = 'valid' | 'scanned' | 'transferred' | 'refunded' | 'cancelled' | 'exchanged';
/** A ticket in the hands of one holder. What opens the door is empty once it is not the asker's any more. */
export interface Ticket {
  ticket: string; admission: string; code: string; qr_text: string | null; section: string; row: string; seat: string; tier: string; price: Money; attributes?: string[]; entrance?: string;
  holder: Holder; state: TicketState; valid: boolean; scanned_at: Time | null;
  /** What makes the codes of the moment, where the door asks for them. */
  rotating: Rotating | null;
  qr: string; pdf: string; link: string;
}
export interface Holder { name: string; email: string }
export interface Rotating { secret: string | null; step_s: number; digits: number }
export interface Admission extends Ticket {
  event: { id: string; name: string; starts_at: Time; doors_at: Time | null; timezone: string; status: string; venue: { name: string; address?: string; city: string; country: string } };
  as_of: Time;
}
export interface Transfer { admission: string; ticket: string; holder: Holder; holder_token: string; link: string; mailed: boolean }

export interface Throttle {
  rate_per_minute: number; burst: number; max_shoppers: number; lease_s: number; claim_window_s: number;
  /** Seconds within which somebody who missed their turn may come back to a second one. */
  grace_s?: number;
}
export interface Autopilot {
  enabled: boolean; min_rate_per_minute: number; target_p95_ms: number;
  /** Shares are 0 to 1. */
  max_error_share: number; max_pool_share: number;
}
export interface AdminRoom {
  event: string; name: string; state: RoomState; reason?: StandstillReason | null; message: string | null; throttle: Throttle;
  waiting: number; ready: number; shopping: number; admitted_total: number; joined_total: number;
  admitted_last_minute: number;
  tickets: { total: number; available: number; held: number; sold: number } | null;
  wait: { low_s: number; high_s: number } | null;
  closed_reason?: string | null;
  order?: LineOrder; invite_only?: boolean; bypass?: boolean; challenge?: 'off' | 'pow';
  opens_at?: Time | null; lobby_opens_at?: Time | null; closes_at?: Time | null;
  /** The last place that is still let in while the room drains. */
  cutoff?: number | null;
  stock?: { available: number; held: number; left: number } | null;
  effective_rate_per_minute?: number;
  /** Of the turns given, those nobody took: 0 to 1. */
  no_show_share?: number | null;
  suspects?: number; away?: number;
  autopilot?: Autopilot & { reason: string; changed_at: Time | null };
  public_source?: string | null;
  draw?: { status: Draw['status']; commitment: string; n: number | null; public_source: string | null; public_value: string | null } | null;
}
export type RoomPatch = Partial<Throttle> & {
  order?: LineOrder; invite_only?: boolean; bypass?: boolean; challenge?: 'off' | 'pow'; public_source?: string;
  opens_at?: Time | null; lobby_opens_at?: Time | null; closes_at?: Time | null; autopilot?: Partial<Autopilot>;
};
/** One visitor, as operators see them. */
export interface AdminVisitor {
  visitor: string; state: VisitorState; lane: Lane | null; place: number | null; index: number | null; ahead: number | null;
  wait: { low_s: number; high_s: number } | null; admitted_at: Time | null; claimed_at: Time | null; until: Time | null;
  missed: number; away_since: Time | null; explanation: string;
}
export interface InviteRequest { lane: Lane; count?: number; emails?: string[]; single_use: boolean; expires_at: Time }
export interface Invite { invite: string; url: string; email: string | null; lane: Lane }
/** Tickets that are kept for some people, as operators see them. */
export interface AdminChannel { id: string; name: string; available: number; sold: number; invites: number; members: number }
/** Some tickets, or all that have something in common; `quantity` takes the last so many of them. */
export interface Selection { ordinals?: number[]; section?: string; row?: string; tier?: string; quantity?: number; all?: boolean }
export interface LiveFrame { at: Time; rooms: AdminRoom[]; reachable?: boolean; orders_per_minute: number; p95_ms: number; errors_per_minute: number }
export interface AuditEntry { at: Time; actor: string; action: string; subject: string; detail?: unknown }

/** A refused or failed call. */
export class Problem extends Error {
  /** The stable last segment of the problem's type, e.g. `tickets-taken`. */
  readonly code: string;
  readonly title: string;
  readonly detail: string;

  constructor(
    /** HTTP status, or 0 when no answer came. */
    readonly status: number,
    /** The problem document, for fields such as `taken_ordinals`. */
    readonly body: Record<string, unknown>,
    /** Seconds to wait before another try; 0 when the server named none. */
    readonly retryAfter = 0,
  ) {
    super();
    this.code = String(body.type).split('/').pop()!;
    this.title = String(body.title || `Error ${status}`);
    this.detail = String(body.detail || '');
    this.message = this.detail || this.title;
  }
}

type Headers = Record<string, string>;

/** One call; the answer as it came, when it went well. */
export async function send(method: string, path: string, body?: unknown, headers?: Headers): Promise<Response> {
  let r: Response;
  try {
    r = await fetch(path, { method, headers: { ...(body ? { 'content-type': 'application/json' } : {}), ...headers }, body: body ? JSON.stringify(body) : null });
  } catch {
    throw new Problem(0, { type: 'offline', title: 'No connection to the server' });
  }
  if (r.ok) return r;
  throw new Problem(r.status, await r.json().catch(() => ({})), Number(r.headers.get('retry-after')));
}

export async function call<T>(method: string, path: string, body?: unknown, headers?: Headers): Promise<T> {
  const r = await send(method, path, body, headers);
  return r.status === 204 ? (undefined as T) : r.json();
}

/** Proves who asks, for order links and operators. */
export const bearer = (token?: string | null): Headers => (token ? { authorization: `Bearer ${token}` } : {});
/** Makes a repeated request count once. */
export const once = (key: string, token?: string | null): Headers => ({ 'idempotency-key': key, ...bearer(token) });

/** What is not empty of `q`, as the end of an address. */
export const query = (q: Record<string, string | number | undefined>): string => {
  const s = new URLSearchParams();
  for (const [k, v] of Object.entries(q)) if (v !== undefined && v !== '') s.set(k, String(v));
  const text = s.toString();
  return text && `?${text}`;
};

// Waiting room
const room = (event: string, tail: string) => `/v1/rooms/${event}/${tail}`;
export const getMe = (event: string) => call<Me>('GET', room(event, 'me'));
export const join = (event: string, body: Join) => call<Me>('POST', room(event, 'join'), body);
export const leave = (event: string) => call<void>('DELETE', room(event, 'me'));
export const claim = (event: string) => call<Me>('POST', room(event, 'claim'), {});
export const getDraw = (event: string) => call<Draw>('GET', room(event, 'draw'));
export const handOver = (event: string) => call<Handover>('POST', room(event, 'handover'), {});
export const appeal = (event: string, challenge?: Answer) => call<Me>('POST', room(event, 'appeal'), { challenge });

// Catalog
export const getEvents = (q: { q?: string; name?: string; from?: string; type?: string; city?: string; cursor?: string; limit?: number }) =>
  call<{ events: Event[]; next_cursor: string | null }>('GET', `/v1/events${query(q)}`);
/** Drafts are shown to operators only. */
export const getEvent = (id: string, token?: string) => call<Event>('GET', `/v1/events/${id}`, undefined, bearer(token));
export const getPlan = (id: string, token?: string) => call<PlanDocument>('GET', `/v1/events/${id}/plan`, undefined, bearer(token));
/** The plan by its version, where the event names it. */
export const getEventPlan = (e: Event | null, id: string) => (e?.plan_url ? call<PlanDocument>('GET', e.plan_url) : getPlan(id));
/** The event for one's own calendar. */
export const calendarOf = (id: string): string => `/v1/events/${id}/event.ics`;
export const getAvailability = (id: string) => call<Snapshot>('GET', `/v1/events/${id}/availability`);

// Holds
const holds = (event: string, tail = '') => `/v1/events/${event}/holds${tail}`;
export const getHolds = (event: string) => call<{ holds: Hold[] }>('GET', holds(event));
export const createHold = (event: string, body: HoldRequest, key: string) => call<Hold>('POST', holds(event), body, once(key));
export const priceHold = (event: string, hold: string, promo: string) => call<Price>('POST', holds(event, `/${hold}/price`), { promo });
export const extendHold = (event: string, hold: string) => call<Hold>('POST', holds(event, `/${hold}/extend`), {});
export const changeHold = (event: string, hold: string, body: HoldChange) => call<Hold>('PATCH', holds(event, `/${hold}`), body);
export const dropHold = (event: string, hold: string) => call<void>('DELETE', holds(event, `/${hold}`));
export const getChannels = (event: string) => call<{ channels: Channel[] }>('GET', `/v1/events/${event}/channels`);
export const enterChannel = (event: string, code: string) => call<{ channels: Channel[] }>('POST', `/v1/events/${event}/channels`, { code });

// Orders
const order = (id: string, tail = '') => `/v1/orders/${id}${tail}`;
export const createOrder = (body: { hold: string; buyer: { name: string; email: string }; promo?: string }, key: string) =>
  call<Order>('POST', '/v1/orders', body, once(key));
export const getOrder = (id: string, token?: string | null) => call<Order>('GET', order(id), undefined, bearer(token));
export const payOrder = (id: string, method: string, key: string, token?: string | null) =>
  call<Order>('POST', order(id, '/pay'), { method }, once(key, token));
export const cancelOrder = (id: string, token?: string | null) => call<Order | undefined>('POST', order(id, '/cancel'), {}, bearer(token));
export const quoteCancel = (id: string, tickets: string[], token?: string | null) =>
  call<CancelQuote>('GET', order(id, `/cancel${tickets.length ? `?${tickets.map((t) => `ticket=${t}`).join('&')}` : ''}`), undefined, bearer(token));
export const cancelTickets = (id: string, tickets: string[], key: string, token?: string | null) =>
  call<Order>('POST', order(id, '/cancel'), { tickets }, once(key, token));
export const getExchange = (id: string, token?: string | null) => call<ExchangeTerms>('GET', order(id, '/exchange'), undefined, bearer(token));
export const holdToExchange = (id: string, tickets: string[], others: HoldRequest, token?: string | null) =>
  call<ExchangeHold>('POST', order(id, '/exchange/hold'), { tickets, ...others }, bearer(token));
export const releaseToExchange = (id: string, token?: string | null) => call<void>('DELETE', order(id, '/exchange/hold'), undefined, bearer(token));
export const exchangeTickets = (id: string, tickets: string[], hold: string, key: string, token?: string | null) =>
  call<Order>('POST', order(id, '/exchange'), { tickets, hold }, once(key, token));
export const mailOrder = (id: string, token?: string | null) => call<{ status: string; recipient: string }>('POST', order(id, '/email'), {}, bearer(token));
export const getTickets = (id: string, token?: string | null) =>
  call<{ tickets: Ticket[] }>('GET', order(id, '/tickets'), undefined, bearer(token));
export const transferTicket = (id: string, ticket: string, to: Holder, token?: string | null) =>
  call<Transfer>('POST', order(id, `/tickets/${ticket}/transfer`), to, bearer(token));
const admission = (id: string, tail = '') => `/v1/admissions/${id}${tail}`;
export const getAdmission = (id: string, token: string | null) => call<Admission>('GET', admission(id), undefined, bearer(token));
export const transferAdmission = (id: string, to: Holder, token: string | null) => call<Transfer>('POST', admission(id, '/transfer'), to, bearer(token));
export const getImage = async (path: string, token?: string | null): Promise<Blob> => (await send('GET', path, undefined, bearer(token))).blob();

// Accounts
export interface Account { account: string; email: string | null; name: string; created_at: Time; last_seen_at: Time }
export const askCode = (email: string) => call<{ status: string }>('POST', '/v1/account/code', { email });
export const signIn = (email: string, code: string) => call<{ account: Account }>('POST', '/v1/account/session', { email, code });
export const signOut = () => call<void>('DELETE', '/v1/account/session', {});
export const getAccount = () => call<Account>('GET', '/v1/account');
export const getAccountOrders = (cursor?: string) => call<{ orders: Order[]; next_cursor: string | null }>('GET', `/v1/account/orders${query({ cursor })}`);
export const eraseAccount = (even_with_tickets: boolean) => call<void>('DELETE', '/v1/account', { even_with_tickets });

// Administration
const admin = '/v1/admin/';
export const adminRooms = (token: string) => call<{ rooms: AdminRoom[] }>('GET', `${admin}rooms`, undefined, bearer(token));
const adminRoom = (event: string, tail = '') => `${admin}rooms/${event}${tail}`;
export const patchRoom = (token: string, event: string, body: RoomPatch) => call<AdminRoom>('PATCH', adminRoom(event), body, bearer(token));
export type RoomAction = 'open' | 'lobby' | 'pause' | 'resume' | 'drain' | 'close' | 'draw' | 'message' | 'admit';
export interface RoomActionBody { message?: string; reason?: string; cutoff?: number; count?: number; public_value?: string }
export const roomAction = (token: string, event: string, action: RoomAction, body: RoomActionBody = {}) =>
  call<AdminRoom | undefined>('POST', adminRoom(event, `/${action}`), body, bearer(token));
export const makeInvites = (token: string, event: string, body: InviteRequest) =>
  call<{ invites: Invite[] }>('POST', adminRoom(event, '/invites'), body, bearer(token));
const adminVisitor = (event: string, visitor: string) => adminRoom(event, `/visitors/${encodeURIComponent(visitor)}`);
export const getVisitor = (token: string, event: string, visitor: string) => call<AdminVisitor>('GET', adminVisitor(event, visitor), undefined, bearer(token));
export const moveVisitor = (token: string, event: string, visitor: string, lane: Lane) =>
  call<AdminVisitor | undefined>('POST', adminVisitor(event, visitor), { lane }, bearer(token));
export const adminAudit = (token: string, q: { cursor?: string; limit?: number } = {}) =>
  call<{ entries: AuditEntry[]; next_cursor: string | null }>('GET', `${admin}audit${query(q)}`, undefined, bearer(token));
const adminEvent = (event: string, tail = '') => `${admin}events/${event}${tail}`;
export const patchEvent = (token: string, event: string, body: { single_seats: SingleSeats }) => call<Event>('PATCH', adminEvent(event), body, bearer(token));
export const adminChannels = (token: string, event: string) => call<{ channels: AdminChannel[] }>('GET', adminEvent(event, '/channels'), undefined, bearer(token));
export const createChannel = (token: string, event: string, name: string) => call<AdminChannel>('POST', adminEvent(event, '/channels'), { name }, bearer(token));
export const allot = (token: string, event: string, channel: string, how: 'allot' | 'release', body: Selection) =>
  call<{ done: number; skipped: number[] }>('POST', adminEvent(event, `/channels/${channel}/${how}`), body, bearer(token));
export const makeCodes = (token: string, event: string, channel: string, body: { count: number; uses: number; note: string; expires_at: Time | null }) =>
  call<{ codes: string[] }>('POST', adminEvent(event, `/channels/${channel}/invites`), body, bearer(token));
