import type { AdminRoom, Throttle } from '../api';

/** What a throttle would do to a room as it is now. */
export interface Effect {
  /** People let in per minute once the shop is full. */
  perMinute: number;
  /** Minutes until everybody waiting now has been let in; null when nobody would be. */
  drainMinutes: number | null;
  /** People shopping at the same time, once steady. */
  shoppers: number;
  /** What holds the line back: the rate, or the cap on shoppers. */
  limit: 'rate' | 'cap';
}

/**
 * Minutes a person stays, by Little's law from what is seen now (people inside
 * divided by arrivals per minute), and half the lease while nothing is seen.
 */
export function stayMinutes(r: AdminRoom): number {
  const inside = r.ready + r.shopping;
  const seen = inside && r.admitted_last_minute ? inside / r.admitted_last_minute : 0;
  return seen ? Math.min(seen, r.throttle.lease_s / 60) : r.throttle.lease_s / 120;
}

/** The effect of throttle `t` on room `r`, were it applied now. */
export function effectOf(r: AdminRoom, t: Throttle): Effect {
  const stay = Math.max(0.05, Math.min(stayMinutes(r), t.lease_s / 60));
  const byCap = t.max_shoppers / stay;
  const perMinute = Math.min(t.rate_per_minute, byCap);
  return {
    perMinute,
    drainMinutes: perMinute > 0 ? r.waiting / perMinute : r.waiting ? null : 0,
    shoppers: Math.round(Math.min(t.max_shoppers, t.rate_per_minute * stay)),
    limit: byCap < t.rate_per_minute ? 'cap' : 'rate',
  };
}

/** Minutes in words people plan with: "under a minute", "18 min", "3 h 20 min". */
export function minutesText(m: number): string {
  if (m < 1) return 'under a minute';
  const whole = Math.round(m);
  return whole < 120 ? `${whole} min` : `${Math.floor(whole / 60)} h ${whole % 60} min`;
}
