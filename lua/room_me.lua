-- room_me: look one visitor up. Writes nothing.
--
-- KEYS
--   1-5 as in room_prelude
-- ARGV
--   1 channel (unused)   2 visitor
-- RETURNS
--   the reply of room_prelude; code 1, -1 no such room, -5 unknown visitor
-- COMPLEXITY
--   O(log n).

local visitor = ARGV[2]
local epoch = tonumber(redis.call('HGET', ROOM, 'epoch') or '0')
if epoch == 0 then return { -1 } end
local v = find(visitor)
if v.state == UNKNOWN then return { -5 } end
return reply(1, v, visitor, epoch)
