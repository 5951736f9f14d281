-- hold_sweep: free the tickets of holds whose time is up.
--
-- KEYS
--   1 exp  hold:{e}:exp   2 status  inv:{e}:status   3 seq  inv:{e}:seq
-- ARGV
--   1 most holds in this call   2 prefix of ticket locks   3 prefix of holds
--   4 prefix of visitors' sets  5 channel
-- RETURNS  {holds ended, tickets freed, ms until the next expiry or -1}
-- INVARIANTS
--   A ticket is freed only if no lock of another hold is on it. Sold and
--   blocked tickets stay as they are.
-- COMPLEXITY  O(holds ended · tickets in each)

local exp, status, seq = KEYS[1], KEYS[2], KEYS[3]
local most, locks, holds, visitors, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)

local ended = redis.call('ZRANGEBYSCORE', exp, '-inf', string.format('%d', now), 'LIMIT', 0, most)
local freed = 0
for _, id in ipairs(ended) do
  local h = redis.call('HMGET', holds .. id, 'visitor', 'ordinals')
  if h[1] then
    for o in string.gmatch(h[2], '%d+') do
      local holder = redis.call('GET', locks .. o)
      if holder == id then redis.call('DEL', locks .. o) end
      if (not holder or holder == id) and redis.call('GETRANGE', status, o, o) == 'H' then
        redis.call('SETRANGE', status, o, 'A')
        freed = freed + 1
      end
    end
    redis.call('DEL', holds .. id)
    redis.call('SREM', visitors .. h[1], id)
  end
  redis.call('ZREM', exp, id)
end
if freed > 0 then redis.call('PUBLISH', channel, string.format('%d', redis.call('INCR', seq))) end

local next = redis.call('ZRANGE', exp, 0, 0, 'WITHSCORES')
local wait = -1
if next[2] then
  wait = tonumber(next[2]) - now
  if wait < 0 then wait = 0 end
end
return {#ended, freed, wait}
