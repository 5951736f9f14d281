-- room_restore: put stored turns back, before the room itself is created.
--
-- KEYS
--   1-9 as in room_prelude
-- ARGV
--   1 channel
--   2.. visitor, turn (see room_prelude), at most 500 pairs
-- RETURNS
--   how many were put back
-- INVARIANTS
--   A turn that Redis knows is newer than any stored one and stays; once the room
--   is there, so is everything else, and nothing is put back.
--   Who waits for a second chance waits for it again.
-- COMPLEXITY
--   O(k log n) for k turns.

local put = 0
if redis.call('EXISTS', ROOM) == 1 then return put end
for i = 2, #ARGV, 2 do
  local turn = turn_of(ARGV[i + 1])
  if turn and redis.call('HSETNX', TURNS, ARGV[i], ARGV[i + 1]) == 1 then
    put = put + 1
    if turn.letter == 'x' and turn.till == 0 then redis.call('ZADD', QUEUE, int(turn.score), ARGV[i]) end
    if turn.till > now then
      if turn.letter == 'r' then redis.call('ZADD', READY_SET, int(turn.till), ARGV[i]) end
      if turn.letter == 's' then redis.call('ZADD', ACTIVE, int(turn.till), ARGV[i]) end
    end
  end
end
return put
