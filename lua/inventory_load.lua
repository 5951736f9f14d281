-- inventory_load: put an event's inventory, as Postgres knows it, into Redis.
--
-- KEYS
--   1-9 as in hold_prelude
-- ARGV
--   1-4 as in hold_prelude
--   5 the seq that was read before Postgres was; '' = load only if missing
--   6 status bytes   7 shape   8 tiers   9 channels by ticket, '' without any
--   10 what counting gives "field:number;…"
--   11 open orders "ordinal:ms it still has;…"
--   12 bought "visitor:tickets;…"   13 members of channels "visitor:bytes;…"
-- RETURNS  1 loaded, 0 the inventory changed (or was there) and was left alone
-- INVARIANTS
--   Live holds survive, unless Postgres has sold their ticket or blocked it. seq
--   never goes back, also after Redis lost everything: it follows the clock.
-- COMPLEXITY  O(live holds + open orders + buyers), plus the copy of the bytes

local expected, bytes = ARGV[5], ARGV[6]

local current = redis.call('GET', SEQ)
if redis.call('EXISTS', STATUS) == 1 and expected ~= (current or '') then return 0 end

redis.call('SET', STATUS, bytes)
redis.call('SET', SHAPE, ARGV[7])
redis.call('SET', TIERS, ARGV[8])
if ARGV[9] == '' then redis.call('DEL', ALLOT) else redis.call('SET', ALLOT, ARGV[9]) end
redis.call('DEL', COUNT, BOUGHT, ACCESS)
local seq = next_seq()
redis.call('HSET', COUNT, 'epoch', int(seq))
for field, n in string.gmatch(ARGV[10], '(%w+):(%d+);') do redis.call('HSET', COUNT, field, n) end
for visitor, n in string.gmatch(ARGV[12], '([^:;]+):(%d+);') do redis.call('HSET', BOUGHT, visitor, n) end
for visitor, of in string.gmatch(ARGV[13], '([^:;]+):([^:;]+);') do redis.call('HSET', ACCESS, visitor, of) end

for o, ms in string.gmatch(ARGV[11], '(%d+):(%d+);') do redis.call('SET', LOCKS .. o, 'order', 'NX', 'PX', ms) end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', EXP, '(' .. int(now), '+inf')) do
  local h = hold_of(redis.call('GET', HOLDS .. id))
  for o in string.gmatch(h and h.ordinals or '', '%d+') do
    if redis.call('GET', LOCKS .. o) == id and byte_of(STATUS, o) ~= 'S' then flip(o, 'H') end
  end
end
changed = math.max(changed, 1) -- everything is new
publish(seq)
return 1
