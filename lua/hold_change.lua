-- hold_change: look at, extend or pin one's own hold.
--
-- KEYS
--   1 hold    hold:{e}:h:<id>
--   2 exp     hold:{e}:exp
--   3 active  wr:{e}:active
-- ARGV
--   1 visitor   2 hold id   3 prefix of ticket locks
--   4 'get', 'extend', 'pin' or 'unpin'   5 ttl (ms)   6 most extensions
-- RETURNS
--   { 1, expiry, fence, extensions, pinned, ordinal...}
--   {-1}   no live hold with this id
--   {-2}   the hold is another visitor's
--   {-3}   no extensions left, or the lease leaves no more time
--   {-4}   pinned: an order is being paid, its time is the order's
-- INVARIANTS
--   A pinned hold stays until the order ends or its time is up. Only pin may
--   carry a hold past the visitor's lease. unpin gives the hold back to its
--   visitor with the given ttl, or what the lease leaves of it.
-- COMPLEXITY  O(tickets in the hold)

local hold, exp, active = KEYS[1], KEYS[2], KEYS[3]
local visitor, id, locks, verb = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local ttl, most = tonumber(ARGV[5]), tonumber(ARGV[6])

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)

local h = redis.call('HMGET', hold, 'visitor', 'expires', 'fence', 'extensions', 'pinned', 'ordinals')
if not h[1] or tonumber(h[2]) <= now then return {-1} end
if h[1] ~= visitor then return {-2} end
local expires, extensions, pinned = tonumber(h[2]), tonumber(h[4]), tonumber(h[5])

if verb ~= 'get' then
  local to = now + ttl
  local lease = tonumber(redis.call('ZSCORE', active, visitor) or '0')
  if verb == 'extend' then
    if pinned == 1 then return {-4} end
    if to > lease then to = lease end
    if extensions >= most or to <= expires then return {-3} end
    extensions = extensions + 1
  elseif verb == 'pin' then
    if to < expires then to = expires end
    pinned = 1
  else
    if to > lease then to = math.max(lease, now) end
    pinned = 0
  end
  expires = to
  local at = string.format('%d', expires)
  for o in string.gmatch(h[6], '%d+') do
    if redis.call('GET', locks .. o) == id then
      redis.call('PEXPIREAT', locks .. o, at)
    end
  end
  redis.call('HSET', hold, 'expires', at, 'extensions', tostring(extensions), 'pinned', tostring(pinned))
  redis.call('PEXPIREAT', hold, string.format('%d', expires + 60000))
  redis.call('ZADD', exp, at, id)
end

local reply = {1, expires, tonumber(h[3]), extensions, pinned}
for o in string.gmatch(h[6], '%d+') do reply[#reply + 1] = tonumber(o) end
return reply
