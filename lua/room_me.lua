-- room_me: look one visitor up.
--
-- KEYS
--   1-9 as in room_prelude
-- ARGV
--   1 channel   2 visitor   3 '1' when it is the visitor who asks
-- RETURNS
--   the reply of room_prelude; code 1, -1 no such room, -5 unknown visitor
--   extra is when the last connection dropped (ms), 0 when one is there or never was
-- INVARIANTS
--   Writes nothing unless the visitor asks who was away: then they are there
--   again, and somebody who was skipped has their place back.
-- COMPLEXITY
--   O(log n).

local visitor = ARGV[2]
local f = redis.call('HMGET', ROOM, 'epoch', 'state')
if not f[1] then return { -1 } end
local epoch = tonumber(f[1])
local v = find(visitor)
if v.state == UNKNOWN then return { -5 } end
local since = tonumber(redis.call('ZSCORE', GONE, visitor) or '0')
if ARGV[3] == '1' then
  if since > 0 then
    redis.call('ZREM', GONE, visitor)
    since = 0
  end
  if v.state == AWAY and (f[2] == 'open' or f[2] == 'paused' or f[2] == 'draining') then
    come_back(visitor, v)
    redis.call('PUBLISH', CHANNEL, 'v ' .. visitor)
  end
end
return reply(1, v, visitor, epoch, since)
