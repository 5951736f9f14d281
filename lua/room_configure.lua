-- room_configure: change the throttle of a live room.
--
-- KEYS
--   1-5 as in room_prelude
-- ARGV
--   1 channel
--   2.. field, value; fields are rate (a minute), burst, cap, lease (ms), claim (ms)
-- RETURNS
--   1, or -1 no such room
-- INVARIANTS
--   Time until now refills at the old rate, time from now on at the new one,
--   and the bucket never holds more than the new burst.
--   Leases that run keep their end.
-- COMPLEXITY
--   O(1).

if redis.call('EXISTS', ROOM) == 0 then return -1 end
local d = door()
redis.call('HSET', ROOM, unpack(ARGV, 2))
d.tokens = math.min(d.tokens, tonumber(redis.call('HGET', ROOM, 'burst')) * UNIT)
keep(d)
-- Admissions under another throttle say nothing about the wait from now on.
redis.call('HSET', ROOM, 'pace_since', int(math.floor(now / SLOT) + 1))
redis.call('PUBLISH', CHANNEL, 'r')
return 1
