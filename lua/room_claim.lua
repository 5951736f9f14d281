-- room_claim: a ready visitor takes their turn; the claim window becomes the lease.
--
-- KEYS
--   1-5 as in room_prelude
-- ARGV
--   1 channel   2 visitor
-- RETURNS
--   the reply of room_prelude; code 1 shopping, -1 no such room, -3 not their
--   turn (state says what they are instead), -5 unknown visitor
-- INVARIANTS
--   Claiming again changes nothing: one turn has one claim time and one end.
-- COMPLEXITY
--   O(log n).

local visitor = ARGV[2]
local f = redis.call('HMGET', ROOM, 'epoch', 'lease')
if not f[1] then return { -1 } end
local epoch, lease = tonumber(f[1]), tonumber(f[2])
local v = find(visitor)
if v.state == UNKNOWN then return { -5 } end
if v.state == SHOPPING then return reply(1, v, visitor, epoch) end
if v.state ~= READY then return reply(-3, v, visitor, epoch) end
v.state, v.claimed, v.till = SHOPPING, now, now + lease
redis.call('ZADD', ACTIVE, int(v.till), visitor)
redis.call('HSET', TURNS, visitor, turn_text('s', v.place, v.admitted, v.claimed, v.till))
redis.call('HINCRBY', ROOM, 'ready', -1)
redis.call('PUBLISH', CHANNEL, 'v ' .. visitor)
return reply(1, v, visitor, epoch)
