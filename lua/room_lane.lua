-- room_lane: move a visitor to another lane, at the same place number.
--
-- KEYS
--   1-9 as in room_prelude
-- ARGV
--   1 channel   2 visitor   3 lane, 1 … 5
--   4 the lane they must be in now, 0 for any
-- RETURNS
--   the reply of room_prelude; code 1, -1 no such room, -5 unknown visitor, or
--   not in that lane, or neither in lobby nor line
-- INVARIANTS
--   The place number stays: in their new lane they stand where they would have
--   stood from the beginning.
-- COMPLEXITY
--   O(log n).

local visitor, lane, from = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local epoch = tonumber(redis.call('HGET', ROOM, 'epoch') or '0')
if epoch == 0 then return { -1 } end
local v = find(visitor)
if (v.state ~= WAITING and v.state ~= IN_LOBBY) or (from > 0 and lane_of(v.score) ~= from) then return { -5 } end
v.score = lane * LANE + v.score % LANE
redis.call('ZADD', v.state == WAITING and QUEUE or LOBBY, int(v.score), visitor)
redis.call('PUBLISH', CHANNEL, 'v ' .. visitor)
return reply(1, v, visitor, epoch)
