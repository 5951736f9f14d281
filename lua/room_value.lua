-- room_value: bring the public value that the draw waits for.
--
-- KEYS
--   1-9 as in room_prelude
-- ARGV
--   1 channel   2 the value, not empty
-- RETURNS
--   1 taken, 2 it was this one already, 0 the draw does not wait for one, -1 no
--   such room
-- INVARIANTS
--   A value is taken once, and only after the lobby was fixed.
-- COMPLEXITY
--   O(1).

local f = redis.call('HMGET', ROOM, 'moving', 'public_value')
if not f[1] then return -1 end
if f[2] == ARGV[2] then return 2 end
if f[1] ~= '2' then return 0 end
redis.call('HSET', ROOM, 'public_value', ARGV[2], 'moving', '1')
redis.call('PUBLISH', CHANNEL, 'r')
return 1
