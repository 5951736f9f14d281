import type { ScanResult, Scanned } from './calls';

/** What the door does about a scan: three ways, told apart by shape and word as well as by colour. */
export interface Verdict { tone: 'good' | 'warn' | 'bad'; shape: 'tick' | 'triangle' | 'cross'; word: string; text: string }

const said: Record<ScanResult, [Verdict['tone'], string, string]> = {
  admitted: ['good', 'Let in', ''],
  already_scanned: ['bad', 'Already scanned', ''],
  not_valid: ['bad', 'Not valid', 'This is no ticket.'],
  wrong_event: ['bad', 'Another event', 'The ticket is for another event.'],
  rotating_required: ['warn', 'Code does not change', 'A photo of the code may have been shown. Ask for the page of the ticket, where the code changes by itself.'],
  code_expired: ['warn', 'Code has run out', 'Ask them to show the page of the ticket again, and scan the code of now.'],
  transferred: ['bad', 'Passed on', 'The ticket belongs to somebody else now.'],
  refunded: ['bad', 'Refunded', 'The money for the ticket was given back.'],
  cancelled: ['bad', 'Cancelled', 'The event is cancelled.'],
  exchanged: ['bad', 'Exchanged', 'The ticket was exchanged for another.'],
};
const shapes = { good: 'tick', warn: 'triangle', bad: 'cross' } as const;

export function verdictOf(s: Scanned, time: (t: string) => string): Verdict {
  const [tone, word, text] = said[s.result];
  const who = [s.scanned_by && `by ${s.scanned_by}`, s.gate && `at ${s.gate}`].filter(Boolean).join(', ');
  return { tone, shape: shapes[tone], word, text: s.result === 'already_scanned' && s.scanned_at ? `Let in ${time(s.scanned_at)}${who && `, ${who}`}.` : text };
}
