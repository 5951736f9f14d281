-- room_state: change the state of a room, if it is in one that allows it.
--
-- KEYS
--   1-9 as in room_prelude
-- ARGV
--   1 channel   2 new state   3 reason, for closed
--   4 cutoff, for draining: the last place to let in, 0 for all in line
--   5.. states it may be in now
-- RETURNS
--   {1, state before} changed, {0, state} refused, {-1} no such room
-- INVARIANTS
--   Opening gives the lobby its places as one block before any later join.
-- COMPLEXITY
--   O(1).

local state = redis.call('HGET', ROOM, 'state')
if not state then return { -1 } end
local allowed = false
for i = 5, #ARGV do allowed = allowed or ARGV[i] == state end
if not allowed then return { 0, state } end
if ARGV[2] == 'open' then
  open_room()
else
  redis.call('HSET', ROOM, 'cutoff', ARGV[4])
  set_state(ARGV[2], ARGV[3])
end
return { 1, state }
