-- hold_prelude: what the scripts about holds and inventory share. It stands
-- before each of them.
--
-- KEYS
--   1 status inv:{e}:status  one byte a ticket: A available, H held, S sold, X blocked
--   2 seq    inv:{e}:seq     number of the last change, grows for ever
--   3 count  inv:{e}:count   hash: tickets by status and tier (A0 H0 S0 X0 A1 …), and the
--                            epoch, which is the seq of the last load
--   4 shape  inv:{e}:shape   one byte a ticket: 64 + flags (below); changes by inventory_shape
--   5 tiers  inv:{e}:tiers   one byte a ticket, never changes: 48 + index of its tier
--   6 allot  inv:{e}:allot   one byte a ticket: 48 + number of the channel it is kept for,
--                            48 for none; missing while the event has no channels
--   7 access inv:{e}:access  hash visitor -> bytes of the channels they may buy from
--   8 bought inv:{e}:bought  hash visitor -> tickets bought
--   9 exp    hold:{e}:exp    zset hold -> expiry (ms)
--   10 holds hold:{e}:holds  hash hold -> its text; the sweeper takes out what has lapsed
--   11 of    hold:{e}:of     hash visitor -> list of their holds
-- ARGV
--   1 prefix of ticket locks hold:{e}:t:
--   2 channel of the inventory's changes
--
-- A hold's text is "expires;fence;extensions;pinned;visitor;ordinal,ordinal…", times in
-- ms. Its fence is the seq of the change that made it or last changed its
-- tickets. seq is the clock in µs, or one more than the last: a later change has a
-- higher number even when Redis forgot the last ones.
-- A visitor's list of holds is "tickets in all|id:tickets:expires;…".
--
-- Replies begin with a code; a negative one says why nothing was done:
--    1 expires fence extensions pinned ordinal…   the hold
--   -1            the visitor has no lease
--   -2 had        more than one buyer may have; had = held and bought
--   -3 ordinal…   these are taken
--   -4 left       no such tickets next to each other; left = how many match, 100 for many
--   -5            the inventory is not in Redis, or of an older layout
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
local ALLOT, ACCESS, BOUGHT, EXP, HOLDS, OF = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local LOCKS, CHANNEL = ARGV[1], ARGV[2]

-- Flags of a ticket's shape.
local ROW, RUN, ACCESSIBLE, COMPANION, AREA = 1, 2, 4, 8, 16 -- begins a row, or a run of one tier and kind
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

local seq -- of this script's latest change
local function next_seq()
  if seq then
    seq = seq + 1
  else
    seq = math.max(tonumber(t[1]) * 1000000 + tonumber(t[2]), tonumber(redis.call('GET', SEQ) or '0') + 1)
  end
  return seq
end

-- Holds and visitors' lists as this script has read or changed them: text, or false
-- for none. What changed is written at the end, all of it at once.
local holds, lists, ends = {}, {}, {} -- ends: hold -> expiry as text, or false
local changed_holds, changed_lists = {}, {}

-- write stores what changed of a hash: fields with a text, and those without.
local function write(key, changes, values)
  local set, del = {}, {}
  for field in pairs(changes) do
    if values[field] then
      set[#set + 1] = field
      set[#set + 1] = values[field]
    else
      del[#del + 1] = field
    end
  end
  if #set > 0 then redis.call('HSET', key, unpack(set)) end
  if #del > 0 then redis.call('HDEL', key, unpack(del)) end
end

-- commit writes down and tells what was changed. It is the last thing a script does.
local function commit()
  local add, rem = {}, {}
  for id, expires in pairs(ends) do
    if expires then
      add[#add + 1] = expires
      add[#add + 1] = id
    else
      rem[#rem + 1] = id
    end
  end
  if #add > 0 then redis.call('ZADD', EXP, unpack(add)) end
  write(HOLDS, changed_holds, holds)
  write(OF, changed_lists, lists)
  if #rem > 0 then redis.call('ZREM', EXP, unpack(rem)) end
  if changed == 0 then return end
  for field, by in pairs(tally) do
    if by ~= 0 then redis.call('HINCRBY', COUNT, field, by) end
  end
  local number = int(seq or next_seq())
  redis.call('SET', SEQ, number)
  redis.call('PUBLISH', CHANNEL, number)
end

-- hold_of is a hold, nil if there is none.
local function hold_of(id)
  if holds[id] == nil then holds[id] = redis.call('HGET', HOLDS, id) end
  local text = holds[id]
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
  local h = hold_of(id)
  if not h or h.expires <= now then return nil, -6 end
  if h.visitor ~= visitor then return nil, -7 end
  return h
end

local function count_of(ordinals)
  if ordinals == '' then return 0 end
  local _, commas = string.gsub(ordinals, ',', '')
  return commas + 1
end

local function list_of(visitor)
  if lists[visitor] == nil then lists[visitor] = redis.call('HGET', OF, visitor) end
  return lists[visitor] or '0|'
end

-- list notes in its visitor's list that a hold has so many tickets, 0 for none any
-- more. What has lapsed leaves the list on the way.
local function list(visitor, id, tickets, expires)
  local rest, total = {}, tickets
  for other, n, till in string.gmatch(list_of(visitor), '([^:;|]+):(%d+):(%d+);') do
    if other ~= id and tonumber(till) > now then
      rest[#rest + 1] = other .. ':' .. n .. ':' .. till .. ';'
      total = total + tonumber(n)
    end
  end
  if tickets > 0 then rest[#rest + 1] = id .. ':' .. int(tickets) .. ':' .. int(expires) .. ';' end
  lists[visitor] = #rest > 0 and int(total) .. '|' .. table.concat(rest)
  changed_lists[visitor] = true
end

-- list_new is list for a hold that is not in the list yet, without reading the rest.
local function list_new(visitor, id, tickets, expires)
  local total, rest = string.match(list_of(visitor), '^(%d+)|(.*)$')
  lists[visitor] = int(tonumber(total) + tickets) .. '|' .. rest .. id .. ':' .. int(tickets) .. ':' .. expires .. ';'
  changed_lists[visitor] = true
end

local function store(id, h, expires)
  holds[id] = expires .. ';' .. int(h.fence) .. ';' .. int(h.extensions) .. ';'
    .. (h.pinned and '1' or '0') .. ';' .. h.visitor .. ';' .. h.ordinals
  changed_holds[id] = true
  ends[id] = expires
end

local function save(id, h)
  store(id, h, int(h.expires))
  list(h.visitor, id, count_of(h.ordinals), h.expires)
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
    holds[id] = false
    changed_holds[id] = true
    list(h.visitor, id, 0)
  end
  ends[id] = false
end

-- sweep ends holds whose time is up and returns how many.
local function sweep(most)
  local ended = redis.call('ZRANGEBYSCORE', EXP, '-inf', int(now), 'LIMIT', 0, most)
  for _, id in ipairs(ended) do finish(id, hold_of(id)) end
  return #ended
end

local bought = {} -- visitor -> tickets

local function bought_by(visitor)
  bought[visitor] = bought[visitor] or redis.call('HGET', BOUGHT, visitor) or '0'
  return tonumber(bought[visitor])
end

-- had_at_most is had_by, or more while lapsed holds are still listed.
local function had_at_most(visitor)
  return bought_by(visitor) + tonumber(string.match(list_of(visitor), '^%d+'))
end

-- had_by counts what the visitor holds and has bought, but for the hold `except`.
local function had_by(visitor, except)
  local had = bought_by(visitor)
  for other, n, till in string.gmatch(list_of(visitor), '([^:;|]+):(%d+):(%d+);') do
    if other ~= except and tonumber(till) > now then had = had + tonumber(n) end
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

-- lock decides who has a ticket: its key is set by one hold only. px is how long, in
-- ms, as text.
local function lock(o, id, px, was)
  if not redis.call('SET', LOCKS .. o, id, 'NX', 'PX', px) then return false end
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
