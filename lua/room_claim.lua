-- room_claim: a ready visitor takes their turn; the claim window becomes the lease.
--
-- KEYS
--   1-9 as in room_prelude
-- ARGV
--   1 channel   2 visitor
-- RETURNS
--   the reply of room_prelude; code 1 shopping, -1 no such room, -3 not their
--   turn (state says what they are instead), -5 unknown visitor, -6 the shop is
--   full for a moment: the turn is kept and its window begins anew
-- INVARIANTS
--   Claiming again changes nothing: one turn has one claim time and one end.
--   Where turns were given in expectation of no-shows, the cap holds here.
-- COMPLEXITY
--   O(log n).

local visitor = ARGV[2]
local f = redis.call('HMGET', ROOM, 'epoch', 'lease', 'claim', 'cap', 'bypass')
if not f[1] then return { -1 } end
local epoch, lease, window, cap = tonumber(f[1]), tonumber(f[2]), tonumber(f[3]), tonumber(f[4])
local v = find(visitor)
if v.state == UNKNOWN then return { -5 } end
if v.state == SHOPPING then return reply(1, v, visitor, epoch) end
if v.state ~= READY then return reply(-3, v, visitor, epoch) end
if f[5] ~= '1' and redis.call('ZCOUNT', ACTIVE, '(' .. int(now), '+inf') >= cap and outcomes().enough then
  v.till = now + window
  redis.call('ZADD', READY_SET, int(v.till), visitor)
  redis.call('HSET', TURNS, visitor, turn_text('r', v))
  touch(visitor)
  return reply(-6, v, visitor, epoch)
end
count_outcomes(math.min(math.floor((now - v.admitted) * EIGHTHS / window), EIGHTHS - 1) + 1, 0)
v.state, v.claimed, v.till = SHOPPING, now, now + lease
redis.call('ZREM', READY_SET, visitor)
redis.call('ZADD', ACTIVE, int(v.till), visitor)
redis.call('HSET', TURNS, visitor, turn_text('s', v))
touch(visitor)
redis.call('PUBLISH', CHANNEL, 'v ' .. visitor)
return reply(1, v, visitor, epoch)
