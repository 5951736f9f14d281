import type { Me, Room } from '../api';

/** What the page shows; one per visible state of the queue page. */
export type Phase =
  | 'scheduled' | 'lobby' | 'waiting' | Standstill
  | 'ready' | 'shopping' | 'done' | 'left' | 'expired' | 'closed' | 'sold_out';

/** Why a place that is waiting does not move; `none_free` is stock that is gone while the room is still open. */
export type Standstill = 'paused' | 'shop_unavailable' | 'full' | 'all_held' | 'none_free' | 'draw_pending' | 'restoring' | 'stopped';

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
    const why = room.state === 'paused' ? 'paused' : room.reason;
    if (why === 'paused' || why === 'restoring' || why === 'draw_pending') return why;
    if (state === 'lobby') return 'lobby';
    switch (why) {
      case 'shop_unavailable': case 'full': case 'all_held': case 'stopped': return why;
      case 'sold_out': return 'none_free';
      default: return 'waiting';
    }
  }
  return state;
}

/** States after which nothing more will be pushed. */
export const over = (p: Phase): boolean => p === 'done' || p === 'left' || p === 'expired' || p === 'closed' || p === 'sold_out' || p === 'shopping';

/** What is remembered of a place between reloads. */
export interface Memory { place: number; lane?: string | null; first: number; ahead: number }

/**
 * The next memory of a place: `ahead` never grows while place and lane stay the
 * same, whatever estimates arrive; another place or lane starts anew. `first` is
 * where the progress bar began.
 */
export function remember(old: Memory | null, { place, lane, ahead }: Pick<Me, 'place' | 'lane' | 'ahead'>): Memory | null {
  if (place === null || ahead === null) return old;
  if (!old || old.place !== place || old.lane !== lane) return { place, lane, first: ahead, ahead };
  return { ...old, ahead: Math.min(old.ahead, ahead) };
}

/** How much of the way is done, 0 to 1. */
export const progress = (m: Memory): number => (m.first > 0 ? 1 - m.ahead / m.first : 1);
