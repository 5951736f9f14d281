-- room_stats: the room as it is. Writes nothing.
--
-- KEYS
--   1-9 as in room_prelude
-- ARGV
--   1 channel (unused)
-- RETURNS
--   {} no such room, or
--   { now, waiting, ready, shopping, gathered, away, suspects, field, value, field, value, … }
-- COMPLEXITY
--   O(log n).

local fields = redis.call('HGETALL', ROOM)
if #fields == 0 then return {} end
local out = { now, redis.call('ZCARD', QUEUE), redis.call('ZCARD', READY_SET), redis.call('ZCARD', ACTIVE), redis.call('ZCARD', LOBBY),
  redis.call('ZCARD', GONE), redis.call('ZCOUNT', QUEUE, int((GENERAL + 1) * LANE), '+inf') }
for i = 1, #fields do out[7 + i] = fields[i] end
return out
