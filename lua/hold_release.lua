-- hold_release: give one's own hold back.
--
-- KEYS
--   1 hold  hold:{e}:h:<id>   2 exp  hold:{e}:exp   3 status  inv:{e}:status
--   4 seq   inv:{e}:seq       5 mine hold:{e}:v:<visitor>
-- ARGV
--   1 visitor   2 hold id   3 prefix of ticket locks   4 channel
-- RETURNS
--    n   tickets freed (0: the hold was gone already)
--   -2   the hold is another visitor's
--   -4   pinned: an order has it
-- INVARIANTS  Locks are deleted only while they still carry this hold's id.
-- COMPLEXITY  O(tickets in the hold)

local hold, exp, status, seq, mine = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local visitor, id, locks, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local h = redis.call('HMGET', hold, 'visitor', 'pinned', 'ordinals')
if not h[1] then return 0 end
if h[1] ~= visitor then return -2 end
if h[2] == '1' then return -4 end

local freed = 0
for o in string.gmatch(h[3], '%d+') do
  local holder = redis.call('GET', locks .. o)
  if holder == id then redis.call('DEL', locks .. o) end
  if (not holder or holder == id) and redis.call('GETRANGE', status, o, o) == 'H' then
    redis.call('SETRANGE', status, o, 'A')
    freed = freed + 1
  end
end
redis.call('DEL', hold)
redis.call('ZREM', exp, id)
redis.call('SREM', mine, id)
if freed > 0 then redis.call('PUBLISH', channel, string.format('%d', redis.call('INCR', seq))) end
return freed
