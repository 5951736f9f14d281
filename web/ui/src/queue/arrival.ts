/**
 * What somebody brings along in the address: a hand-over code from their other
 * device, an invite of the organiser with the e-mail it is bound to, or the
 * token of the organiser's sign-in.
 */
export interface Arrival { handover?: string; invite?: string; email?: string; user_token?: string }

/** The arrival in a fragment such as `#invite=…&email=…`; null when there is none. */
export function arrivalOf(hash: string): Arrival | null {
  // A plus stays a plus: e-mail addresses have them.
  const q = new URLSearchParams(hash.slice(1).replace(/\+/g, '%2B'));
  const a: Arrival = {};
  for (const k of ['handover', 'invite', 'email', 'user_token'] as const) if (q.get(k)) a[k] = q.get(k)!;
  return a.handover || a.invite || a.user_token ? a : null;
}
