-- room_steer: the autopilot changes the rate of a room, below the operator's.
--
-- KEYS
--   1-9 as in room_prelude
-- ARGV
--   1 channel
--   2 the time of the last change that the decision was made on (ms)
--   3 new rate per minute   4 why, for people
-- RETURNS
--   1 changed, 0 another node decided meanwhile or it is off, -1 no such room
-- INVARIANTS
--   One decision at a time, whichever nodes decide.
-- COMPLEXITY
--   O(1).

local f = redis.call('HMGET', ROOM, 'auto_on', 'auto_at', 'rate', 'auto_rate')
if not f[1] then return -1 end
if f[1] ~= '1' or tonumber(f[2]) ~= tonumber(ARGV[2]) then return 0 end
local d = door()
keep(d) -- time until now refills at the old rate
local before, after = tonumber(f[4]), math.min(tonumber(ARGV[3]), tonumber(f[3]))
redis.call('HSET', ROOM, 'auto_rate', int(after), 'auto_at', int(math.max(now, tonumber(f[2]) + 1)))
if after ~= before then
  redis.call('HSET', ROOM, 'auto_reason', ARGV[4], 'pace_since', int(math.floor(now / SLOT) + 1))
  note('autopilot', 'room.rate', int(before) .. ' to ' .. int(after) .. ' a minute: ' .. ARGV[4])
  redis.call('PUBLISH', CHANNEL, 'r')
end
return 1
