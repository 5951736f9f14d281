-- room_unsaved: list turns and changes that were not stored outside Redis yet.
--
-- KEYS
--   1-9 as in room_prelude
-- ARGV
--   1 channel (unused)   2 most turns, and most changes
-- RETURNS
--   {} no such room, or { epoch, turns, changes } with
--   turns { visitor, when it changed (ms), turn or '', … } and changes as in note
-- INVARIANTS
--   Only turns that changed before this millisecond are listed, so that a later
--   change always has another time.
-- COMPLEXITY
--   O(k log n).

local epoch = redis.call('HGET', ROOM, 'epoch')
if not epoch then return {} end
local dirty = redis.call('ZRANGEBYSCORE', DIRTY, '-inf', '(' .. int(now), 'WITHSCORES', 'LIMIT', 0, tonumber(ARGV[2]))
local names, list = {}, {}
for i = 1, #dirty, 2 do names[#names + 1] = dirty[i] end
for from = 1, #names, 500 do
  local some = {}
  for i = from, math.min(from + 499, #names) do some[#some + 1] = names[i] end
  local turns = redis.call('HMGET', TURNS, unpack(some))
  for i = 1, #some do
    list[#list + 1] = some[i]
    list[#list + 1] = int(tonumber(dirty[2 * (from + i - 1)]))
    list[#list + 1] = turns[i] or ''
  end
end
return { tonumber(epoch), list, redis.call('ZRANGE', LOG, 0, tonumber(ARGV[2]) - 1) }
