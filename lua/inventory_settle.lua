-- inventory_settle: carry what Postgres decided about tickets into Redis.
--
-- KEYS
--   1-11 as in hold_prelude
-- ARGV
--   1-2 as in hold_prelude
--   3 'S' sold, 'A' nobody's again, 'H' an open order's
--   4 hold id whose tickets these are ('' = none)
--   5 visitor   6 change of the visitor's bought count
--   7 ms that a lock set for 'H' lives   8 ordinals "3,4,5"
-- RETURNS  tickets whose byte changed; -5: the inventory is not in Redis
-- INVARIANTS
--   'A' never frees a ticket that another hold has locked; a ticket kept for a
--   channel becomes X instead. Settling twice changes nothing more, but for the
--   bought count, which is advisory (Postgres enforces the limit).
-- COMPLEXITY  O(tickets)

local to, id, visitor, change = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])

if redis.call('EXISTS', STATUS) == 0 then return -5 end

for o in string.gmatch(ARGV[8], '%d+') do
  local holder = redis.call('GET', LOCKS .. o)
  -- 'order' stands for an open order whose own hold is gone; Postgres has spoken about it.
  local foreign = holder and holder ~= id and holder ~= 'order'
  if to == 'H' then
    if not holder then redis.call('SET', LOCKS .. o, 'order', 'PX', ARGV[7]) end
    flip(o, 'H')
  elseif to == 'S' then
    redis.call('DEL', LOCKS .. o)
    flip(o, 'S')
  elseif not foreign then
    redis.call('DEL', LOCKS .. o)
    flip(o, resting(o))
  end
end
if id ~= '' and to ~= 'H' then finish(id, hold_of(id)) end
if change ~= 0 and changed > 0 then
  local n = redis.call('HINCRBY', BOUGHT, visitor, change)
  if n <= 0 then redis.call('HDEL', BOUGHT, visitor) end
end
commit()
return changed
