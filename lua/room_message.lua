-- room_message: set the host's message.
--
-- KEYS
--   1-9 as in room_prelude
-- ARGV
--   1 channel   2 text, '' for none
-- RETURNS
--   1, or -1 no such room
-- COMPLEXITY
--   O(1).

if redis.call('EXISTS', ROOM) == 0 then return -1 end
redis.call('HSET', ROOM, 'message', ARGV[2])
redis.call('PUBLISH', CHANNEL, 'r')
return 1
