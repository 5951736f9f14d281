-- hold: claim tickets for a while, all of them or none.
--
-- KEYS
--   1 active    wr:{e}:active    zset visitor -> end of lease (ms)
--   2 status    inv:{e}:status   one byte a ticket
--   3 seq       inv:{e}:seq
--   4 fence     inv:{e}:fence
--   5 exp       hold:{e}:exp     zset hold -> expiry (ms)
--   6 mine      hold:{e}:v:<visitor>
--   7 hold      hold:{e}:h:<id>
--   8 bought    inv:{e}:bought
--   9 runs      inv:{e}:runs     "first,count,tier,ga,accessible;" per run
-- ARGV
--   1 visitor   2 hold id   3 ttl (ms)   4 most tickets one buyer may have
--   5 channel   6 prefix of ticket locks 7 prefix of holds
--   8 'pick' or 'best'
--   pick: 9.. ordinals
--   best: 9 quantity, 10 tier index or -1, 11 '1' for accessible seats
-- RETURNS
--   { 1, expiry, fence, extensions, pinned, ordinal...}   made, or made before under this id
--   {-1}                 the visitor has no lease
--   {-2, had}            would exceed the limit; had = tickets held and bought
--   {-3, ordinal...}     these are taken; nothing was held
--   {-4, left}           no such run; left = available tickets that match the filter
--   {-5}                 the inventory is not in Redis
--   {-6}                 the id belongs to another visitor's hold
-- INVARIANTS
--   A ticket has at most one live lock. Status bytes change only with a lock.
--   A hold never outlives the visitor's lease.
-- COMPLEXITY
--   pick: O(k). best: O(runs) plus one scan of the status string.

local active, status, seq, fence, exp, mine, hold, bought, runs =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local visitor, id, ttl, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local channel, locks, holds, mode = ARGV[5], ARGV[6], ARGV[7], ARGV[8]

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)

local lease = tonumber(redis.call('ZSCORE', active, visitor) or '0')
if lease <= now then return {-1} end

if redis.call('EXISTS', hold) == 1 then
  local h = redis.call('HMGET', hold, 'visitor', 'expires', 'fence', 'extensions', 'pinned', 'ordinals')
  if h[1] ~= visitor then return {-6} end
  if tonumber(h[2]) > now then
    local reply = {1, tonumber(h[2]), tonumber(h[3]), tonumber(h[4]), tonumber(h[5])}
    for o in string.gmatch(h[6], '%d+') do reply[#reply + 1] = tonumber(o) end
    return reply
  end
end

if redis.call('EXISTS', status) == 0 then return {-5} end

local wanted = {}
local quantity
if mode == 'pick' then
  for i = 9, #ARGV do wanted[#wanted + 1] = tonumber(ARGV[i]) end
  quantity = #wanted
else
  quantity = tonumber(ARGV[9])
end

local had = tonumber(redis.call('HGET', bought, visitor) or '0')
for _, other in ipairs(redis.call('SMEMBERS', mine)) do
  local h = redis.call('HMGET', holds .. other, 'count', 'expires')
  if h[1] and tonumber(h[2]) > now then
    had = had + tonumber(h[1])
  elseif not h[1] then
    redis.call('SREM', mine, other)
  end
end
if had + quantity > limit then return {-2, had} end

if mode == 'pick' then
  local taken = {-3}
  for _, o in ipairs(wanted) do
    local s = redis.call('GETRANGE', status, o, o)
    -- 'H' without a lock has lapsed and waits for the sweeper: free.
    if (s ~= 'A' and s ~= 'H') or redis.call('EXISTS', locks .. string.format('%d', o)) == 1 then
      taken[#taken + 1] = o
    end
  end
  if #taken > 1 then return taken end
else
  local tier, accessible = tonumber(ARGV[10]), ARGV[11]
  local all = redis.call('GET', status)
  local block = string.rep('A', quantity)
  local left = 0
  for first, count, rtier, ga, acc in string.gmatch(redis.call('GET', runs) or '', '(%d+),(%d+),(%d+),(%d),(%d);') do
    if acc == accessible and (tier == -1 or tonumber(rtier) == tier) then
      local low = tonumber(first) + 1
      local high = low + tonumber(count) - 1
      if ga == '1' then
        local at = low
        while #wanted < quantity do
          at = string.find(all, 'A', at, true)
          if not at or at > high then break end
          if redis.call('EXISTS', locks .. string.format('%d', at - 1)) == 0 then wanted[#wanted + 1] = at - 1 end
          at = at + 1
        end
        if #wanted < quantity then left = left + #wanted; wanted = {} end
      else
        local at = low
        while true do
          at = string.find(all, block, at, true)
          if not at or at + quantity - 1 > high then break end
          for o = at - 1, at + quantity - 2 do
            if redis.call('EXISTS', locks .. string.format('%d', o)) == 1 then wanted = {}; break end
            wanted[#wanted + 1] = o
          end
          if #wanted == quantity then break end
          at = at + 1
        end
        if #wanted < quantity then
          local at = low
          while true do
            at = string.find(all, 'A', at, true)
            if not at or at > high then break end
            left = left + 1
            at = at + 1
          end
        end
      end
      if #wanted == quantity then break end
    end
  end
  if #wanted < quantity then return {-4, left} end
end

-- The hold ends with the lease at the latest.
local expires = now + ttl
if expires > lease then expires = lease end
local px = string.format('%d', expires - now)

local names = {}
for _, o in ipairs(wanted) do
  local name = string.format('%d', o)
  redis.call('SET', locks .. name, id, 'NX', 'PX', px)
  redis.call('SETRANGE', status, name, 'H')
  names[#names + 1] = name
end
local number = redis.call('INCR', fence)
redis.call('DEL', hold)
redis.call('HSET', hold, 'visitor', visitor, 'expires', string.format('%d', expires), 'fence', string.format('%d', number),
  'extensions', '0', 'pinned', '0', 'count', tostring(#wanted), 'ordinals', table.concat(names, ','))
-- A minute longer than the locks, so that the sweeper can still read it.
redis.call('PEXPIRE', hold, string.format('%d', expires - now + 60000))
redis.call('ZADD', exp, string.format('%d', expires), id)
redis.call('SADD', mine, id)
redis.call('PEXPIRE', mine, 86400000)
redis.call('PUBLISH', channel, string.format('%d', redis.call('INCR', seq)))

local reply = {1, expires, number, 0, 0}
for _, o in ipairs(wanted) do reply[#reply + 1] = o end
return reply
