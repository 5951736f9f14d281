-- room_configure: change the settings of a live room.
--
-- KEYS
--   1-9 as in room_prelude
-- ARGV
--   1 channel
--   2 what must hold: '' nothing, 'empty' nobody is in lobby or line, 'before' the
--     room has not opened
--   3.. field, value; as in room_seed, times in ms
-- RETURNS
--   1, 0 what must hold does not, -1 no such room
-- INVARIANTS
--   Time until now refills at the old rate, time from now on at the new one,
--   and the bucket never holds more than the new burst.
--   Leases that run keep their end.
-- COMPLEXITY
--   O(1).

local f = redis.call('HMGET', ROOM, 'state', 'draw_n')
if not f[1] then return -1 end
if ARGV[2] == 'empty' and redis.call('ZCARD', LOBBY) + redis.call('ZCARD', QUEUE) > 0 then return 0 end
if ARGV[2] == 'before' and ((f[1] ~= 'scheduled' and f[1] ~= 'lobby') or tonumber(f[2]) > 0) then return 0 end
local d = door()
redis.call('HSET', ROOM, unpack(ARGV, 3))
d.tokens = math.min(d.tokens, tonumber(redis.call('HGET', ROOM, 'burst')) * UNIT)
keep(d)
-- Admissions under another throttle say nothing about the wait from now on.
for i = 3, #ARGV, 2 do
  if ARGV[i] == 'rate' or ARGV[i] == 'burst' or ARGV[i] == 'cap' then
    redis.call('HSET', ROOM, 'pace_since', int(math.floor(now / SLOT) + 1))
  end
  if ARGV[i] == 'rate' then -- the autopilot begins anew, below the new ceiling
    redis.call('HSET', ROOM, 'auto_rate', ARGV[i + 1])
  end
end
redis.call('PUBLISH', CHANNEL, 'r')
return 1
