-- room_place: bring drawn places to visitors in the lobby.
--
-- KEYS
--   1-9 as in room_prelude
-- ARGV
--   1 channel
--   2.. visitor, their score in the lobby, their score in the line
-- RETURNS
--   how many moved, or -1 no such room
-- INVARIANTS
--   Who left the lobby, or was moved by another node, does not move again: a
--   place follows from the join index alone, so that it does not matter who
--   brings it, or how often.
-- COMPLEXITY
--   O(k log n) for k visitors.

if redis.call('HGET', ROOM, 'moving') ~= '1' then return redis.call('EXISTS', ROOM) - 1 end
local moved = 0
local places, names = {}, {}
local function flush()
  if #names == 0 then return end
  redis.call('ZADD', QUEUE, unpack(places))
  redis.call('ZREM', LOBBY, unpack(names))
  moved = moved + #names
  places, names = {}, {}
end
for i = 2, #ARGV, 3 do
  if tonumber(redis.call('ZSCORE', LOBBY, ARGV[i]) or '0') == tonumber(ARGV[i + 1]) then
    places[#places + 1] = ARGV[i + 2]
    places[#places + 1] = ARGV[i]
    names[#names + 1] = ARGV[i]
    if #names == 500 then flush() end
  end
end
flush()
return moved
