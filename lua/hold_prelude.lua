-- hold_prelude: what the scripts about holds and inventory share. It stands
-- before each of them.
--
-- KEYS
--   1 status inv:{e}:status  one byte a ticket: A available, H held, S sold, X blocked
--   2 seq    inv:{e}:seq     number of the last change, grows for ever
--   3 count  inv:{e}:count   hash: tickets by status and tier (A0 H0 S0 X0 A1 …), and the
--                            epoch, which is the seq of the last load
--   4 shape  inv:{e}:shape   one byte a ticket, never changes: 64 + flags (below)
--   5 tiers  inv:{e}:tiers   one byte a ticket, never changes: 48 + index of its tier
--   6 allot  inv:{e}:allot   one byte a ticket: 48 + number of the channel it is kept for,
--                            48 for none; missing while the event has no channels
--   7 access inv:{e}:access  hash visitor -> bytes of the channels they may buy from
--   8 bought inv:{e}:bought  hash visitor -> tickets bought
--   9 exp    hold:{e}:exp    zset hold -> expiry (ms)
-- ARGV
--   1 prefix of ticket locks hold:{e}:t:   2 prefix of holds hold:{e}:h:
--   3 prefix of visitors' sets of holds hold:{e}:v:
--   4 channel of the inventory's changes
--
-- A hold is the string "expires;fence;extensions;pinned;visitor;ordinal,ordinal…",
-- times in ms. Its fence is the seq of the change that made it or last changed its
-- tickets. seq is the clock in µs, or one more than the last: a later change has a
-- higher number even when Redis forgot the last ones.
--
-- Replies begin with a code; a negative one says why nothing was done:
--    1 expires fence extensions pinned ordinal…   the hold
--   -1            the visitor has no lease
--   -2 had        more than one buyer may have; had = held and bought
--   -3 ordinal…   these are taken
--   -4 left       no such tickets next to each other; left = how many match, 100 for many
--   -5            the inventory is not in Redis
--   -6            no live hold with this id
--   -7            the hold is another visitor's
--   -8            no extensions left, or the lease leaves no more time
--   -9            pinned: an order has the hold
--  -10 n left     the nth area has only so many left
--  -11 ordinal…   these would be left as single seats
--  -12            nothing would be left in the hold
--
-- What the scripts keep: a ticket has at most one lock; its byte is H while a hold
-- has it; it returns to A, or to X when it is kept for a channel; count is what
-- counting the bytes would give.

local STATUS, SEQ, COUNT, SHAPE, TIERS = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local ALLOT, ACCESS, BOUGHT, EXP = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local LOCKS, HOLDS, VISITORS, CHANNEL = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

-- Flags of a ticket's shape.
local ROW, RUN, ACCESSIBLE, COMPANION, AREA = 1, 2, 4, 8, 16 -- begins a row, or a run of one tier and kind
local DAY = 86400000
local SWEEP = 20 -- lapsed holds that a buyer's own call frees at most

local function int(n) return string.format('%.0f', n) end

local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)

local tally = {} -- field of count -> change
local changed = 0

local function byte_of(key, o) return redis.call('GETRANGE', key, o, o) end

-- flip gives a ticket another status byte. o is its ordinal as text; was is the byte
-- it has, if that is known.
local function flip(o, to, was)
  was = was or byte_of(STATUS, o)
  if was == to or was == '' then return end
  redis.call('SETRANGE', STATUS, o, to)
  local tier = int(string.byte(byte_of(TIERS, o)) - 48)
  was, to = was .. tier, to .. tier
  tally[was] = (tally[was] or 0) - 1
  tally[to] = (tally[to] or 0) + 1
  changed = changed + 1
end

-- resting is the byte of a ticket that nobody has.
local function resting(o)
  local channel = byte_of(ALLOT, o)
  if channel == '' or channel == '0' then return 'A' end
  return 'X'
end

-- free takes a ticket from a hold. A lock of somebody else stays.
local function free(o, id)
  local holder = redis.call('GET', LOCKS .. o)
  if holder == id then redis.call('DEL', LOCKS .. o) end
  if (not holder or holder == id) and byte_of(STATUS, o) == 'H' then flip(o, resting(o)) end
end

local function next_seq()
  local micros = tonumber(t[1]) * 1000000 + tonumber(t[2])
  local last = tonumber(redis.call('GET', SEQ) or '0')
  if micros <= last then micros = last + 1 end
  redis.call('SET', SEQ, int(micros))
  return micros
end

-- publish tells what was flipped, under the given seq or the next.
local function publish(seq)
  if changed == 0 then return end
  for field, by in pairs(tally) do
    if by ~= 0 then redis.call('HINCRBY', COUNT, field, by) end
  end
  redis.call('PUBLISH', CHANNEL, int(seq or next_seq()))
end

local function hold_of(text)
  if not text then return nil end
  local expires, fence, extensions, pinned, visitor, ordinals = string.match(text, '^(%d+);(%d+);(%d+);(%d);([^;]*);([%d,]*)$')
  if not expires then return nil end
  return {
    expires = tonumber(expires), fence = tonumber(fence), extensions = tonumber(extensions), pinned = pinned == '1',
    visitor = visitor, ordinals = ordinals,
  }
end

-- live is the visitor's hold, or a code.
local function live(id, visitor)
  local h = hold_of(redis.call('GET', HOLDS .. id))
  if not h or h.expires <= now then return nil, -6 end
  if h.visitor ~= visitor then return nil, -7 end
  return h
end

local function count_of(ordinals)
  if ordinals == '' then return 0 end
  local _, commas = string.gsub(ordinals, ',', '')
  return commas + 1
end

-- save stores a hold until a day after its end, so that the sweeper can read it
-- however late it comes.
local function save(id, h)
  redis.call('SET', HOLDS .. id, int(h.expires) .. ';' .. int(h.fence) .. ';' .. int(h.extensions) .. ';'
    .. (h.pinned and '1' or '0') .. ';' .. h.visitor .. ';' .. h.ordinals, 'PX', int(h.expires - now + DAY))
  redis.call('ZADD', EXP, int(h.expires), id)
end

local function told(h)
  local reply = {1, h.expires, h.fence, h.extensions, h.pinned and 1 or 0}
  for o in string.gmatch(h.ordinals, '%d+') do reply[#reply + 1] = tonumber(o) end
  return reply
end

-- finish ends a hold: its tickets are free, whoever it belonged to.
local function finish(id, h)
  if h then
    for o in string.gmatch(h.ordinals, '%d+') do free(o, id) end
    redis.call('DEL', HOLDS .. id)
    redis.call('SREM', VISITORS .. h.visitor, id)
  end
  redis.call('ZREM', EXP, id)
end

-- sweep ends holds whose time is up and returns how many.
local function sweep(most)
  local ended = redis.call('ZRANGEBYSCORE', EXP, '-inf', int(now), 'LIMIT', 0, most)
  for _, id in ipairs(ended) do finish(id, hold_of(redis.call('GET', HOLDS .. id))) end
  return #ended
end

-- had counts what the visitor holds and has bought, but for the hold `except`.
local function had_by(visitor, except)
  local had = tonumber(redis.call('HGET', BOUGHT, visitor) or '0')
  for _, other in ipairs(redis.call('SMEMBERS', VISITORS .. visitor)) do
    if other ~= except then
      local h = hold_of(redis.call('GET', HOLDS .. other))
      if not h then
        redis.call('SREM', VISITORS .. visitor, other)
      elseif h.expires > now then
        had = had + count_of(h.ordinals)
      end
    end
  end
  return had
end

-- may_take tells whether a visitor may have the ticket, as far as its byte says,
-- and the byte. A ticket that is kept for a channel is theirs when they are in it.
local channels -- of the visitor, read when first needed
local function may_take(o, visitor)
  local is = byte_of(STATUS, o)
  if is ~= 'X' then return is == 'A', is end
  channels = channels or redis.call('HGET', ACCESS, visitor) or ''
  local channel = byte_of(ALLOT, o)
  return channel ~= '' and channel ~= '0' and string.find(channels, channel, 1, true) ~= nil, is
end

local locked = {} -- by this call: ordinals as text, in order, and the byte of each
local was_byte = {}

-- lock decides who has a ticket: its key is set by one hold only.
local function lock(o, id, expires, was)
  if not redis.call('SET', LOCKS .. o, id, 'NX', 'PX', int(expires - now)) then return false end
  locked[#locked + 1] = o
  was_byte[o] = was
  return true
end

-- take turns what was locked into held tickets, unlock gives it up.
local function take()
  for _, o in ipairs(locked) do flip(o, 'H', was_byte[o]) end
end

local function unlock()
  for _, o in ipairs(locked) do redis.call('DEL', LOCKS .. o) end
end

local function flag(shape, which) return math.floor(shape / which) % 2 == 1 end

-- singles lists the seats that taking these ordinals would leave with no free
-- neighbour, where choosing otherwise in the same stretch of free seats would not.
-- dropped are seats that become free at the same time. O(seats · their number)
local function singles(taken, dropped)
  local gone, back = {}, {}
  for _, o in ipairs(taken) do gone[o] = true end
  for _, o in ipairs(dropped) do back[o] = true end
  local reach = #taken + 3
  local found, seen = {}, {}
  for _, o in ipairs(taken) do
    local low = math.max(o - reach, 0)
    local status = redis.call('GETRANGE', STATUS, low, o + reach)
    local shape = redis.call('GETRANGE', SHAPE, low, o + reach)
    local function shape_of(x) return (string.byte(shape, x - low + 1) or 64 + ROW) - 64 end
    -- open: free before this change, or freed by it. Seats kept for some people are edges.
    local function open(x)
      if x < low or shape_of(x) >= ACCESSIBLE then return false end
      return string.sub(status, x - low + 1, x - low + 1) == 'A' or back[x] or false
    end
    if shape_of(o) < ACCESSIBLE then
      local first, last = o, o
      while o - first < reach and not flag(shape_of(first), ROW) and open(first - 1) do first = first - 1 end
      while last - o < reach and not flag(shape_of(last + 1), ROW) and open(last + 1) do last = last + 1 end
      local left = 0
      for x = first, last do
        if not gone[x] then left = left + 1 end
      end
      for x = o - 1, o + 1, 2 do
        if left > 1 and x >= first and x <= last and not gone[x] and not seen[x]
          and (x == first or gone[x - 1]) and (x == last or gone[x + 1]) then
          seen[x] = true
          found[#found + 1] = x
        end
      end
    end
  end
  table.sort(found)
  return found
end
