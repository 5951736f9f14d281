-- inventory_settle: carry what Postgres decided about tickets into Redis.
--
-- KEYS
--   1 status inv:{e}:status   2 seq inv:{e}:seq   3 exp hold:{e}:exp
--   4 hold   hold:{e}:h:<id>  5 mine hold:{e}:v:<visitor>   6 bought inv:{e}:bought
-- ARGV
--   1 'S' sold, 'A' available again, 'H' taken by another order
--   2 hold id whose tickets these are ('' = none)
--   3 visitor   4 change of the visitor's bought count   5 prefix of ticket locks
--   6 channel   7 ms that a lock set for 'H' lives       8.. ordinals
-- RETURNS  tickets whose byte changed; -1: the inventory is not in Redis
-- INVARIANTS
--   'A' never frees a ticket that another hold has locked, nor one that was
--   not sold or held. Settling twice changes nothing more, but for the bought
--   count, which is advisory (Postgres enforces the limit).
-- COMPLEXITY  O(tickets)

local status, seq, exp, hold, mine, bought = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local to, id, visitor, change, locks, channel = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]

if redis.call('EXISTS', status) == 0 then return -1 end

local changed = 0
for i = 8, #ARGV do
  local o = ARGV[i]
  local lock = locks .. o
  local holder = redis.call('GET', lock)
  -- 'order' stands for an open order whose own hold is gone; Postgres has spoken about it.
  local foreign = holder and holder ~= id and holder ~= 'order'
  if to == 'H' then
    if not holder then redis.call('SET', lock, 'order', 'PX', ARGV[7]) end
  elseif to == 'S' or not foreign then
    redis.call('DEL', lock)
  end
  if to ~= 'A' or not foreign then
    local was = redis.call('GETRANGE', status, o, o)
    if was ~= to and was ~= 'X' then
      redis.call('SETRANGE', status, o, to)
      changed = changed + 1
    end
  end
end
if id ~= '' and to ~= 'H' then
  redis.call('DEL', hold)
  redis.call('ZREM', exp, id)
  redis.call('SREM', mine, id)
end
if change ~= 0 and changed > 0 then
  local n = redis.call('HINCRBY', bought, visitor, change)
  if n <= 0 then redis.call('HDEL', bought, visitor) end
end
if changed > 0 then redis.call('PUBLISH', channel, string.format('%d', redis.call('INCR', seq))) end
return changed
