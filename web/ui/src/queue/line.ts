import type { Me, Room } from '../api';

/** What the page shows; one per visible state of the queue page. */
export type Phase =
  | 'scheduled' | 'lobby' | 'waiting' | 'paused' | 'shop_unavailable' | 'full' | 'all_held'
  | 'ready' | 'shopping' | 'done' | 'left' | 'expired' | 'closed' | 'sold_out';

/** The phase a visitor without a place sees, or null when they should join. */
export function phaseOfRoom(r: Room): Phase | null {
  if (r.state === 'closed') return (r.closed_reason ?? r.reason) === 'sold_out' ? 'sold_out' : 'closed';
  return r.state === 'scheduled' ? 'scheduled' : null;
}

/** The phase a visitor sees. A turn that has come outlives a pause of the line. */
export function phaseOf(me: Me): Phase {
  const { state, room } = me;
  if (state === 'waiting' || state === 'lobby' || state === 'closed') {
    const p = phaseOfRoom(room);
    if (p) return p;
    if (state === 'closed') return 'closed';
    if (room.state === 'paused' || room.reason === 'paused') return 'paused';
    if (state === 'lobby') return 'lobby';
    switch (room.reason) {
      case 'shop_unavailable': return 'shop_unavailable';
      case 'full': return 'full';
      case 'sold_out': return 'all_held';
      default: return 'waiting';
    }
  }
  return state;
}

/** States after which nothing more will be pushed. */
export const over = (p: Phase): boolean => p === 'done' || p === 'left' || p === 'expired' || p === 'closed' || p === 'sold_out' || p === 'shopping';

/** What is remembered of a place between reloads. */
export interface Memory { place: number; first: number; ahead: number }

/**
 * The next memory of a place: `ahead` never grows while the place stays the
 * same, whatever estimates arrive; a new place starts anew. `first` is where
 * the progress bar began.
 */
export function remember(old: Memory | null, place: number | null, ahead: number | null): Memory | null {
  if (place === null || ahead === null) return old;
  if (!old || old.place !== place) return { place, first: ahead, ahead };
  return { place, first: old.first, ahead: Math.min(old.ahead, ahead) };
}

/** How much of the way is done, 0 to 1. */
export const progress = (m: Memory): number => (m.first > 0 ? 1 - m.ahead / m.first : 1);
