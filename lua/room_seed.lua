-- room_seed: create a room that is not there.
--
-- KEYS
--   1-5 as in room_prelude
-- ARGV
--   1 channel
--   2 ms during which a restored room admits nobody, so that those who lost
--     their place to a lost Redis come back before newcomers are let in
--   3.. field, value of the room's settings: name, state, closed_reason,
--     message, opens_at, lobby_opens_at, closes_at, rate, burst, cap, lease,
--     claim, next, cursor, epoch
-- RETURNS
--   1 created, 0 there already (nothing is changed)
-- INVARIANTS
--   A room that has admitted before starts with an empty bucket: what was
--   admitted before the loss is not known, and the throttle must hold over any
--   window.
-- COMPLEXITY
--   O(1).

if redis.call('EXISTS', ROOM) == 1 then return 0 end
redis.call('HSET', ROOM, unpack(ARGV, 3))
local f = redis.call('HMGET', ROOM, 'cursor', 'burst')
local tokens, quiet = tonumber(f[2]) * UNIT, 0
if tonumber(f[1]) > 0 then tokens, quiet = 0, now + tonumber(ARGV[2]) end
redis.call('HSET', ROOM,
  'tokens', int(tokens), 'refilled', int(now), 'quiet_until', int(quiet), 'born', int(now),
  'lobby_next', '0', 'joined', '0', 'admitted', '0', 'ready', '0', 'ticked', '0',
  'shop_ok_until', '0', 'stock', '-1', 'moving', '0', 'move_base', '0', 'pace_since', '0')
redis.call('PUBLISH', CHANNEL, 'r')
return 1
