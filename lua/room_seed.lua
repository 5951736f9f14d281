-- room_seed: create a room that is not there.
--
-- KEYS
--   1-9 as in room_prelude
-- ARGV
--   1 channel
--   2 ms during which a restored room admits nobody, so that those who lost
--     their place to a lost Redis come back before newcomers are let in
--   3 how many turns were put back before (room_restore); with fewer here, the
--     server has lost them again
--   4.. field, value of the room's settings: name, state, closed_reason,
--     closed_by, message, opens_at, lobby_opens_at, closes_at, rate, burst, cap,
--     lease, claim, grace, away, order, invite_only, bypass, challenge, cutoff,
--     public_source, public_value, secret, draw_n, draw_base, draw_digest,
--     drawn_at, lobby_next, lobby_digest, auto_*, next, cursor, epoch
-- RETURNS
--   1 created, 0 there already (nothing is changed), -1 turns are missing
-- INVARIANTS
--   A room that has given places before starts with an empty bucket: what was
--   admitted before the loss is not known, and the throttle must hold over any
--   window.
-- COMPLEXITY
--   O(1).

if redis.call('EXISTS', ROOM) == 1 then return 0 end
if redis.call('HLEN', TURNS) < tonumber(ARGV[3]) then return -1 end
redis.call('HSET', ROOM, unpack(ARGV, 4))
local f = redis.call('HMGET', ROOM, 'cursor', 'burst', 'rate', 'next', 'draw_n', 'order', 'public_source', 'public_value')
local tokens, quiet, moving = tonumber(f[2]) * UNIT, 0, 0
if tonumber(f[5]) > 0 and f[6] == 'draw' and f[7] ~= '' and f[8] == '' then moving = 2 end
if tonumber(f[4]) > 0 or redis.call('HLEN', TURNS) > 0 then
  tokens, quiet = 0, now + tonumber(ARGV[2])
end
redis.call('HSET', ROOM,
  'tokens', int(tokens), 'refilled', int(now), 'quiet_until', int(quiet), 'born', int(now),
  'joined', '0', 'admitted', '0', 'ticked', '0', 'served', '0', 'log_seq', '0', 'auto_rate', f[3],
  'shop_ok_until', '0', 'shop_seen', '', 'stock', '-1', 'available', '-1', 'held', '-1', 'per_buyer', '0',
  'stock_first', '-1', 'first_admitted', '0', 'moving', int(moving), 'pace_since', '0')
redis.call('PUBLISH', CHANNEL, 'r')
return 1
