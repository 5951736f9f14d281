import { describe, expect, test } from 'vitest';
import type { Me, Room } from '../src/api';
import { type Memory, phaseOf, phaseOfRoom, progress, remember } from '../src/queue/line';

const room = (more: Partial<Room> = {}): Room => ({ state: 'open', waiting: 10, admitting_per_minute: 60, message: null, opens_at: null, stock_left: 5, ...more });
const me = (state: Me['state'], more: Partial<Room> = {}): Me => ({
  visitor: 'v', state, place: 1, ahead: 1, wait: null, room: room(more), claim_by: null, lease_ends: null, poll_after_ms: 1000, as_of: '2027-01-01T00:00:00Z',
});

describe('phaseOf', () => {
  test.each<[string, Me, string]>([
    ['a moving line', me('waiting'), 'waiting'],
    ['a paused room', me('waiting', { state: 'paused', reason: 'paused' }), 'paused'],
    ['a dead shop', me('waiting', { reason: 'shop_unavailable' }), 'shop_unavailable'],
    ['a full shop', me('waiting', { reason: 'full' }), 'full'],
    ['everything in carts', me('waiting', { reason: 'all_held' }), 'all_held'],
    ['no stock, while the room is open', me('waiting', { reason: 'sold_out' }), 'none_free'],
    ['a draw under way', me('lobby', { reason: 'draw_pending' }), 'draw_pending'],
    ['a draw under way, with a place already', me('waiting', { reason: 'draw_pending' }), 'draw_pending'],
    ['places being brought back', me('waiting', { reason: 'restoring' }), 'restoring'],
    ['places being brought back in the lobby', me('lobby', { state: 'lobby', reason: 'restoring' }), 'restoring'],
    ['a rate of nothing', me('waiting', { reason: 'stopped' }), 'stopped'],
    ['a lobby, whatever the shop does', me('lobby', { state: 'lobby', reason: 'shop_unavailable' }), 'lobby'],
    ['a room that drains', me('waiting', { state: 'draining' }), 'waiting'],
    ['a pause before any other reason', me('waiting', { state: 'paused', reason: 'restoring' }), 'paused'],
    ['sold out for good', me('waiting', { state: 'closed', reason: 'sold_out' }), 'sold_out'],
    ['sold out, said as the closing reason', me('closed', { state: 'closed', closed_reason: 'sold_out' }), 'sold_out'],
    ['closed', me('closed', { state: 'closed', reason: 'closed' }), 'closed'],
    ['the lobby', me('lobby', { state: 'lobby' }), 'lobby'],
    ['a turn, even while the line is paused', me('ready', { state: 'paused', reason: 'paused' }), 'ready'],
    ['shopping, even when the room closed', me('shopping', { state: 'closed' }), 'shopping'],
    ['a lapsed turn', me('expired'), 'expired'],
  ])('%s', (_what, m, phase) => expect(phaseOf(m)).toBe(phase));
  test('visitors without a place join only rooms that can be joined', () => {
    expect(phaseOfRoom(room())).toBeNull();
    expect(phaseOfRoom(room({ state: 'scheduled' }))).toBe('scheduled');
    expect(phaseOfRoom(room({ state: 'closed' }))).toBe('closed');
  });
});

describe('remember', () => {
  test('the number never goes up while the place is the same', () => {
    let m: Memory | null = null, shown = Infinity;
    for (const ahead of [1000, 990, 995, 400, 401, 399, 5000, 0, 3]) {
      m = remember(m, { place: 77, lane: 'general', ahead });
      expect(m!.ahead).toBeLessThanOrEqual(shown);
      shown = m!.ahead;
    }
    expect(shown).toBe(0);
  });
  test('a new place starts anew', () => {
    expect(remember({ place: 1, lane: 'general', first: 10, ahead: 2 }, { place: 99, lane: 'general', ahead: 500 })).toEqual({ place: 99, lane: 'general', first: 500, ahead: 500 });
  });
  test('another lane starts anew', () => {
    expect(remember({ place: 1, lane: 'suspect', first: 900, ahead: 800 }, { place: 1, lane: 'general', ahead: 20 })).toEqual({ place: 1, lane: 'general', first: 20, ahead: 20 });
  });
  test('an answer without numbers changes nothing', () => {
    const m = { place: 1, first: 10, ahead: 2 };
    expect(remember(m, { place: null, lane: null, ahead: null })).toBe(m);
  });
  test('progress goes from nothing to all', () => {
    expect(progress({ place: 1, first: 10, ahead: 10 })).toBe(0);
    expect(progress({ place: 1, first: 10, ahead: 0 })).toBe(1);
    expect(progress({ place: 1, first: 0, ahead: 0 })).toBe(1);
  });
});
