/** Operators' calls about money, messages and the door. Apart from the other pages' calls, so that only the console loads them. */
import { type Event, type Money, type Order, type OrderStatus, type Time, bearer, call, once, query, send } from '../api';
import * as live from './live';

export const paymentStatuses = ['pending', 'requires_action', 'authorised', 'captured', 'voiding', 'voided', 'declined', 'failed', 'refunded'] as const;
export type PaymentStatus = (typeof paymentStatuses)[number];
export const orderStatuses: OrderStatus[] = ['awaiting_payment', 'payment_unknown', 'paid', 'fulfilled', 'declined', 'expired', 'cancelled', 'refunded', 'partially_refunded'];

/** How often what is due has failed, and when it is tried again. */
export interface Due { failures: number; last_error?: string; next_try_at: Time | null }
export interface Payment extends Due {
  payment: string; order: string; event: string; gateway: string; attempt: number; status: PaymentStatus; amount: Money; refunded: Money;
  /** Why it took no money. */
  reason?: string;
  created_at: Time; updated_at: Time; compared_at: Time | null;
}
export interface Refund extends Due {
  refund: string; order: string; payment: string; event: string; status: 'pending' | 'done'; amount: Money; tickets: string[];
  reason?: string; actor: string; created_at: Time; updated_at: Time;
}
export interface OrderWithMoney extends Order { refunded: Money; visitor: string; payments: Payment[]; refunds: Refund[] }
/** What the gateway's books say otherwise; `action` is what was done about it. */
export interface Difference { at: Time; payment: string; order: string; ours: string; theirs: string; action: string }
export interface MoneyState {
  payments: Partial<Record<PaymentStatus, number>>; refunds_pending: number; uncompared: number;
  stuck_payments: Payment[]; stuck_refunds: Refund[]; differences: Difference[];
}
export interface Cancellation {
  event: string; reason: string; keep_fees: boolean; started_at: Time; finished_at: Time | null;
  orders_left: number; orders_cancelled: number; orders_refunded: number; refunds_pending: number; refunds_done: number; given_back: Money;
}
export interface Promo {
  id: string; code: string; percent: string | null; amount: Money | null; max_uses: number | null; per_buyer: number | null; used: number;
  starts_at: Time | null; ends_at: Time | null; active: boolean; note: string; created_at: Time;
}
/** One code, or `quantity` random ones. */
export interface PromoRequest {
  code?: string; quantity?: number; prefix?: string; percent?: string; amount?: number; max_uses?: number; per_buyer?: number;
  starts_at?: Time | null; ends_at?: Time | null; note?: string;
}
export type PromoPatch = Partial<{ active: boolean; max_uses: number | null; per_buyer: number | null; starts_at: Time | null; ends_at: Time | null; note: string }>;
export interface FreeTicket { id: string; ordinal: number; section: string; row: string; seat: string; tier: string; price: Money; type?: string; attributes?: string[]; entrance?: string }
export const messageTypes = ['order.paid', 'order.fulfilled', 'order.refunded', 'order.cancelled', 'ticket.scanned', 'room.sold_out'] as const;
export interface Webhook {
  id: string; url: string; types: string[]; active: boolean;
  /** Why it switched itself off. */
  why_inactive: string;
  note: string; created_at: Time; rotates_until: Time | null;
  /** Told once, when it is new. */
  secret?: string;
}
export const deliveryStatuses = ['pending', 'delivered', 'failed'] as const;
export interface Delivery {
  id: string; webhook: string; message: string; type: string; subject: string; status: (typeof deliveryStatuses)[number]; attempts: number;
  last_status: number | null; last_error: string; next_at: Time | null; delivered_at: Time | null; created_at: Time;
}
export interface Trial { message: string; ok: boolean; status: number | null; error: string; took_ms: number }
export const emailStatuses = ['pending', 'sending', 'sent', 'failed', 'skipped'] as const;
export interface Email {
  id: string; kind: string; order: string | null; recipient: string; status: (typeof emailStatuses)[number]; attempts: number;
  last_error: string; next_at: Time | null; sent_at: Time | null; created_at: Time;
}
export type ScanResult =
  | 'admitted' | 'already_scanned' | 'not_valid' | 'wrong_event' | 'rotating_required' | 'code_expired' | 'transferred' | 'refunded' | 'cancelled' | 'exchanged';
export interface Scanned {
  id: string; result: ScanResult;
  ticket: { admission: string; ticket: string; event: string; order: string; section: string; row: string; seat: string; tier: string; holder: string; attributes?: string[]; entrance?: string } | null;
  scanned_at: Time | null; scanned_by: string | null; gate: string | null;
}
export interface ScanList { admissions: { state: string; scanned_at: Time | null }[] }
type Page<K extends string, T> = Record<K, T[]> & { next_cursor: string | null };
type Query = Record<string, string | number | undefined>;

const admin = (tail: string): string => `/v1/admin/${tail}`;
/** Asks as the operator who is signed in. */
const ask = <T>(method: string, tail: string, body?: unknown): Promise<T> => call<T>(method, admin(tail), body, bearer(live.token.value));

export const allEvents = (cursor?: string) => ask<Page<'events', Event>>('GET', `events${query({ limit: 200, cursor })}`);
export const listOrders = (q: Query) => ask<Page<'orders', Order>>('GET', `orders${query(q)}`);
export const seeOrder = (id: string) => ask<OrderWithMoney>('GET', `orders/${id}`);
export interface RefundBody { tickets?: string[]; amount?: number; keep_fees?: boolean; reason?: string }
export interface ExchangeBody { tickets: string[]; to: string[]; reason?: string }
export const changeOrder = (id: string, how: 'refund' | 'exchange', body: RefundBody | ExchangeBody, key: string) =>
  call<Order>('POST', admin(`orders/${id}/${how}`), body, once(key, live.token.value));
export const freeTickets = (event: string, section: string, cursor?: string) =>
  call<Page<'tickets', FreeTicket>>('GET', `/v1/events/${event}/tickets${query({ status: 'available', section, limit: 1000, cursor })}`, undefined, bearer(live.token.value));
export const confirmAgain = (order: string) => call<{ status: string; recipient: string }>('POST', `/v1/orders/${order}/email`, {}, bearer(live.token.value));

export const look = (payment: string) => ask<{ payment: string; order: string }>('POST', `payments/${payment}/look`, {});
export const reconciliation = () => ask<MoneyState>('GET', 'reconciliation');
/** A file of the server's, whole: one that breaks off fails. */
export const file = async (tail: string, q: Query): Promise<Blob> => (await send('GET', admin(tail) + query(q), undefined, bearer(live.token.value))).blob();

export const cancelEvent = (event: string, body: { reason: string; keep_fees: boolean }) => ask<Cancellation>('POST', `events/${event}/cancel`, body);
export const cancellation = (event: string) => ask<Cancellation>('GET', `events/${event}/cancellation`);
export const listPromos = (event: string, q: Query) => ask<Page<'promos', Promo>>('GET', `events/${event}/promos${query(q)}`);
export const makePromos = (event: string, body: PromoRequest) => ask<{ promos: Promo[] }>('POST', `events/${event}/promos`, body);
export const patchPromo = (event: string, promo: string, body: PromoPatch) => ask<Promo>('PATCH', `events/${event}/promos/${promo}`, body);

export const listWebhooks = () => ask<{ webhooks: Webhook[] }>('GET', 'webhooks');
export const makeWebhook = (body: { url: string; types: string[]; note: string }) => ask<Webhook>('POST', 'webhooks', body);
export type WebhookPatch = Partial<{ url: string; types: string[]; note: string; active: boolean; rotate_secret: boolean }>;
export const patchWebhook = (id: string, body: WebhookPatch) => ask<Webhook>('PATCH', `webhooks/${id}`, body);
export const deleteWebhook = (id: string) => ask<void>('DELETE', `webhooks/${id}`);
export const testWebhook = (id: string) => ask<Trial>('POST', `webhooks/${id}/test`, {});
export const listDeliveries = (id: string, q: Query) => ask<Page<'deliveries', Delivery>>('GET', `webhooks/${id}/deliveries${query(q)}`);
export const replay = (delivery: string) => ask<Delivery>('POST', `webhooks/deliveries/${delivery}/replay`, {});
/** A time of which everything, or what has not arrived, is sent again. */
export interface Span { from: Time; to: Time; failed_only: boolean }
export const countSpan = (id: string, s: Span) => ask<{ deliveries: number }>('GET', `webhooks/${id}/replay${query({ ...s, failed_only: String(s.failed_only) })}`);
export const replaySpan = (id: string, s: Span) => ask<{ deliveries: number }>('POST', `webhooks/${id}/replay`, s);
export const listEmails = (q: Query) => ask<Page<'emails', Email>>('GET', `emails${query(q)}`);
export const resend = (email: string) => ask<Email>('POST', `emails/${email}/resend`, {});

export const scan = (body: { code: string; gate: string; event: string; id: string; manual: boolean }) => ask<Scanned>('POST', 'scan', body);
export const scanList = (event: string) => ask<ScanList>('GET', `events/${event}/scanlist`);
