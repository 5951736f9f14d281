-- room_stats: the room as it is. Writes nothing.
--
-- KEYS
--   1-5 as in room_prelude
-- ARGV
--   1 channel (unused)
-- RETURNS
--   {} no such room, or
--   { now, waiting, active, gathered, field, value, field, value, … }
-- COMPLEXITY
--   O(1).

local fields = redis.call('HGETALL', ROOM)
if #fields == 0 then return {} end
local out = { now, redis.call('ZCARD', QUEUE), redis.call('ZCARD', ACTIVE), redis.call('ZCARD', LOBBY) }
for i = 1, #fields do out[4 + i] = fields[i] end
return out
