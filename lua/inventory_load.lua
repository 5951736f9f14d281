-- inventory_load: put an event's inventory, as Postgres knows it, into Redis.
--
-- KEYS
--   1-11 as in hold_prelude   12 revision inv:{e}:revision of the layout that the shape is of
-- ARGV
--   1-2 as in hold_prelude
--   3 the seq that was read before Postgres was; '' = load only if missing,
--     or not whole
--   4 status bytes   5 shape   6 tiers   7 channels by ticket, '' without any
--   8 what counting gives "field:number;…"
--   9 open orders "ordinal:ms it still has;…"
--   10 bought "visitor:tickets;…"   11 members of channels "visitor:bytes;…"
--   12 revision of the layout
-- RETURNS  1 loaded, 0 the inventory changed (or was there) and was left alone
-- INVARIANTS
--   Live holds survive, unless Postgres has sold their ticket or blocked it. seq
--   never goes back, also after Redis lost everything: it follows the clock.
-- COMPLEXITY  O(live holds + open orders + buyers), plus the copy of the bytes

local expected, bytes = ARGV[3], ARGV[4]

local current = redis.call('GET', SEQ)
local whole = redis.call('EXISTS', STATUS, SHAPE, TIERS, COUNT) == 4
if whole and expected ~= (current or '') then return 0 end

redis.call('SET', STATUS, bytes)
redis.call('SET', SHAPE, ARGV[5])
redis.call('SET', KEYS[12], ARGV[12])
redis.call('SET', TIERS, ARGV[6])
if ARGV[7] == '' then redis.call('DEL', ALLOT) else redis.call('SET', ALLOT, ARGV[7]) end
redis.call('DEL', COUNT, BOUGHT, ACCESS)
redis.call('HSET', COUNT, 'epoch', int(next_seq()))
for field, n in string.gmatch(ARGV[8], '(%w+):(%d+);') do redis.call('HSET', COUNT, field, n) end
for visitor, n in string.gmatch(ARGV[10], '([^:;]+):(%d+);') do redis.call('HSET', BOUGHT, visitor, n) end
for visitor, of in string.gmatch(ARGV[11], '([^:;]+):([^:;]+);') do redis.call('HSET', ACCESS, visitor, of) end

for o, ms in string.gmatch(ARGV[9], '(%d+):(%d+);') do redis.call('SET', LOCKS .. o, 'order', 'NX', 'PX', ms) end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', EXP, '(' .. int(now), '+inf')) do
  local h = hold_of(id)
  for o in string.gmatch(h and h.ordinals or '', '%d+') do
    if redis.call('GET', LOCKS .. o) == id and byte_of(STATUS, o) ~= 'S' then flip(o, 'H') end
  end
end
changed = math.max(changed, 1) -- everything is new
commit()
return 1
