-- hold_keep: look at, extend or pin one's own hold: what concerns its time.
--
-- KEYS
--   1-11 as in hold_prelude   12 active wr:{e}:active zset visitor -> end of lease (ms)
-- ARGV
--   1-2 as in hold_prelude
--   3 visitor   4 hold id   5 'get', 'extend', 'pin' or 'unpin'
--   6 ttl (ms)   7 most extensions
-- RETURNS
--   the hold; -6, -7, -8 or -9
-- INVARIANTS
--   Extending again at once, within a 600th of the ttl, changes nothing more.
--   A pinned hold stays until the order ends or its time is up. Only pin may
--   carry a hold past the visitor's lease, and it never shortens one. unpin gives
--   the hold back to its visitor with the given ttl, or what the lease leaves of it.
-- COMPLEXITY  O(tickets in the hold)

local visitor, id, verb, ttl, most = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])

local h, code = live(id, visitor)
if not h then return {code} end
if verb == 'get' then return told(h) end

local to = now + ttl
local lease = tonumber(redis.call('ZSCORE', KEYS[12], visitor) or '0')
if verb == 'extend' then
  if h.pinned then return {-9} end
  to = math.min(to, lease)
  -- Who asks again since the answer was lost, or clicked twice, is not extended twice.
  if h.extensions > 0 and to > h.expires and to - h.expires < ttl / 600 then return told(h) end
  if h.extensions >= most or to <= h.expires then return {-8} end
  h.extensions = h.extensions + 1
elseif verb == 'pin' then
  to = math.max(to, h.expires)
  h.pinned = true
else
  to = math.max(math.min(to, lease), now)
  h.pinned = false
end
h.expires = to
for o in string.gmatch(h.ordinals, '%d+') do
  if redis.call('GET', LOCKS .. o) == id then redis.call('PEXPIREAT', LOCKS .. o, int(to)) end
end
save(id, h)
commit()
return told(h)
