-- room_presence: note whose last connection dropped.
--
-- KEYS
--   1-9 as in room_prelude
-- ARGV
--   1 channel
--   2.. visitors
-- RETURNS
--   how many were noted, or -1 no such room
-- INVARIANTS
--   Only who waits can be away. Whoever asks for themselves is there again
--   (room_me, room_join).
-- COMPLEXITY
--   O(k log n).

if redis.call('EXISTS', ROOM) == 0 then return -1 end
local noted = 0
for i = 2, #ARGV do
  if redis.call('ZSCORE', QUEUE, ARGV[i]) or redis.call('ZSCORE', LOBBY, ARGV[i]) then
    redis.call('ZADD', GONE, int(now), ARGV[i])
    noted = noted + 1
  end
end
return noted
