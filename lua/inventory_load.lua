-- inventory_load: put an event's inventory, as Postgres knows it, into Redis.
--
-- KEYS
--   1 status inv:{e}:status   2 seq inv:{e}:seq   3 runs inv:{e}:runs
--   4 exp    hold:{e}:exp
-- ARGV
--   1 the seq that was read before Postgres was; '' = load only if missing
--   2 status bytes   3 runs   4 prefix of ticket locks   5 prefix of holds
--   6 channel        7.. pairs: ordinal, ms its open order still has it
-- RETURNS  1 loaded, 0 the inventory changed (or was there) and was left alone
-- INVARIANTS
--   Live holds survive. seq never goes back, also after Redis lost everything:
--   it starts at Redis' clock in ms.
-- COMPLEXITY  O(live holds + open orders), plus the copy of the bytes

local status, seq, runs, exp = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local expected, bytes, locks, holds, channel = ARGV[1], ARGV[2], ARGV[4], ARGV[5], ARGV[6]

local current = redis.call('GET', seq)
if redis.call('EXISTS', status) == 1 and expected ~= (current or '') then return 0 end

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)

redis.call('SET', status, bytes)
redis.call('SET', runs, ARGV[3])
for i = 7, #ARGV, 2 do
  redis.call('SET', locks .. ARGV[i], 'order', 'NX', 'PX', ARGV[i + 1])
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', exp, string.format('(%d', now), '+inf')) do
  local ordinals = redis.call('HGET', holds .. id, 'ordinals')
  for o in string.gmatch(ordinals or '', '%d+') do
    if redis.call('GET', locks .. o) == id and redis.call('GETRANGE', status, o, o) == 'A' then
      redis.call('SETRANGE', status, o, 'H')
    end
  end
end
local nextseq = tonumber(current or '0') + 1
if nextseq < now then nextseq = now end
redis.call('SET', seq, string.format('%d', nextseq))
redis.call('PUBLISH', channel, string.format('%d', nextseq))
return 1
