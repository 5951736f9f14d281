-- hold: claim tickets for a while, all of them or none.
--
-- KEYS
--   1-9 as in hold_prelude   10 active wr:{e}:active zset visitor -> end of lease (ms)
-- ARGV
--   1-4 as in hold_prelude
--   5 visitor   6 hold id   7 ttl (ms)   8 most tickets one buyer may have
--   9 single seats: 'allow', 'avoid' (in what the script chooses) or 'refuse' (in what is picked, too)
--   10 picked ordinals "3,4,5"
--   11 quantities of areas "quantity:channel:first-last,first-last;…", channel 0 for none
--   12 the best of "quantity:channel:accessible:split", or ''
--   13 where the best are searched: "first-last,…" in order, "first+last" where neighbours don't matter
--   14 where accessible seats are searched: "first-last,…"
-- RETURNS
--   a hold, made now or before under this id; -1, -2, -3, -4, -5, -7, -10 or -11
-- INVARIANTS
--   Nothing is held unless all is. A hold never outlives the visitor's lease.
--   Who asks for the best is refused only if no such tickets are left, also when
--   holds have lapsed that nobody swept yet.
-- COMPLEXITY
--   picked: O(k). Areas and the best: O(1) for each range, one copy and one scan (by
--   memchr) of the status bytes up to where they are found, and O(k) for each place that
--   is looked at and turned down.

local ACTIVE = KEYS[10]
local CHUNK = 8000
local MANY = 100 -- where counting what is left ends
local visitor, id, ttl, limit, single = ARGV[5], ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
local picked, areas, best, where, accessibly = ARGV[10], ARGV[11], ARGV[12], ARGV[13], ARGV[14]

local lease = tonumber(redis.call('ZSCORE', ACTIVE, visitor) or '0')
if lease <= now then return {-1} end

local before = hold_of(redis.call('GET', HOLDS .. id))
if before then
  if before.visitor ~= visitor then return {-7} end
  if before.expires > now then return told(before) end
end

if before then finish(id, before) end
sweep(SWEEP)
local expires = math.min(now + ttl, lease)

local wanted = {}
for o in string.gmatch(picked, '%d+') do wanted[#wanted + 1] = tonumber(o) end
local count = #wanted
for quantity in string.gmatch(areas, '(%d+):%d+:') do count = count + tonumber(quantity) end
local quantity, channel, accessible, split = string.match(best, '^(%d+):(%d+):(%d+):(%d)$')
quantity, channel, accessible = tonumber(quantity or 0), tonumber(channel or 0), tonumber(accessible or 0)
count = count + quantity

local function refuse(reply)
  unlock()
  publish() -- what the sweep freed
  return reply
end

local had = had_by(visitor, id)
if had + count > limit then return refuse({-2, had}) end

local mine = {} -- chosen by this call
local taken = {-3}
for _, o in ipairs(wanted) do
  mine[o] = true
  local name = int(o)
  local may, is = may_take(name, visitor)
  if is == '' then return refuse({-5}) end
  if not may or not lock(name, id, expires, is) then taken[#taken + 1] = o end
end
if #taken > 1 then return refuse(taken) end
if single == 'refuse' and #wanted > 0 then
  local left = singles(wanted, {})
  if #left > 0 then
    table.insert(left, 1, -11)
    return refuse(left)
  end
end

-- The channels whose tickets the visitor may ask for by quantity.
local function entitled(number)
  channels = channels or redis.call('HGET', ACCESS, visitor) or ''
  return number == 0 or string.find(channels, string.char(48 + number), 1, true) ~= nil
end

local function choose(first, n)
  for o = first, first + n - 1 do
    wanted[#wanted + 1] = o
    mine[o] = true
  end
end

local function unchoose(down_to)
  while #wanted > down_to do
    mine[wanted[#wanted]] = nil
    wanted[#wanted] = nil
  end
end

-- clear tells whether none of n tickets is chosen or locked: a free byte whose lock
-- somebody has is for the auditor to mend.
local function clear(first, n)
  for o = first, first + n - 1 do
    if mine[o] then return false end
  end
  for o = first, first + n - 1 do
    if redis.call('EXISTS', LOCKS .. int(o)) == 1 then return false end
  end
  return true
end

local function of_channel(first, n, number)
  return number == 0 or redis.call('GETRANGE', ALLOT, first, first + n - 1) == string.rep(string.char(48 + number), n)
end

-- chunks hands out the status bytes of first to last, `overlap` of them twice, with
-- the ordinal of the first of each chunk, until try returns something. Redis copies
-- small replies to scripts much faster than large ones.
local function chunks(first, last, overlap, try)
  while first <= last do
    local upto = math.min(first + CHUNK - 1, last)
    local found = try(first, redis.call('GETRANGE', STATUS, first, upto))
    if found then return found end
    if upto == last then return nil end
    first = upto + 1 - overlap
  end
  return nil
end

-- gather takes up to n single tickets of a stretch and returns how many it found.
local function gather(first, last, n, number)
  local mark, found = number == 0 and 'A' or 'X', 0
  chunks(first, last, 0, function(from, bytes)
    local at = 0
    while found < n do
      at = string.find(bytes, mark, at + 1, true)
      if not at then return nil end
      local o = from + at - 1
      if of_channel(o, 1, number) and clear(o, 1) then
        choose(o, 1)
        found = found + 1
      end
    end
    return true
  end)
  return found
end

if count > #wanted and redis.call('EXISTS', STATUS) == 0 then return refuse({-5}) end

local nth = 0
for many, number, ranges in string.gmatch(areas, '(%d+):(%d+):([^;]*);') do
  nth = nth + 1
  local missing = tonumber(many)
  if entitled(tonumber(number)) then
    for first, last in string.gmatch(ranges, '(%d+)[-+](%d+)') do
      missing = missing - gather(tonumber(first), tonumber(last), missing, tonumber(number))
    end
  end
  if missing > 0 then return refuse({-10, nth, tonumber(many) - missing}) end
end

local mark = channel == 0 and 'A' or 'X'

-- together finds n next to each other in one row, of one tier, and returns the first.
local function together(n)
  local block = string.rep(mark, n)
  local second -- the first place found, should each leave a single seat

  -- fits judges the n free tickets from o, which are bytes from `at` of a chunk:
  -- true, or false and how many bytes on the next ones may begin. shape are the
  -- flags of o-2 to o+n+1.
  local function fits(o, bytes, at, shape)
    -- '@' continues the row, the tier and the kind of its left neighbour.
    local edge = n > 1 and string.find(shape, '[^@]', 4)
    if edge and edge < 3 + n then return false, edge - 3 end
    if not of_channel(o, n, channel) or not clear(o, n) then return false, 1 end
    if single == 'allow' then return true end

    local function flags(x) return (string.byte(shape, x - o + 3) or 64 + ROW) - 64 end
    local function is_open(x)
      if mine[x] or flags(x) >= ACCESSIBLE then return false end
      local i = at + x - o
      local is = i >= 1 and i <= #bytes and string.sub(bytes, i, i) or x >= 0 and byte_of(STATUS, int(x)) or ''
      return is == mark
    end
    local left, right = o - 1, o + n
    local lonely = not flag(flags(o), ROW) and is_open(left) and (flag(flags(left), ROW) or not is_open(left - 1))
      or not flag(flags(right), ROW) and is_open(right) and (flag(flags(right + 1), ROW) or not is_open(right + 1))
    if lonely then
      second = second or o
      return false, 1
    end
    return true
  end

  for first, kind, last in string.gmatch(where, '(%d+)([-+])(%d+)') do
    local found = kind == '-' and chunks(tonumber(first), tonumber(last), n - 1, function(from, bytes)
      local shapes -- of the chunk, once several places in it were turned down
      local at, tried = 1, 0
      while true do
        at = string.find(bytes, block, at, true)
        if not at then return nil end
        local o, shape = from + at - 1
        tried = tried + 1
        if tried == 4 then shapes = string.rep('@', math.max(2 - from, 0)) .. redis.call('GETRANGE', SHAPE, math.max(from - 2, 0), from + #bytes + 1) end
        if shapes then
          shape = string.sub(shapes, at, at + n + 3)
        else
          shape = string.rep('@', math.max(2 - o, 0)) .. redis.call('GETRANGE', SHAPE, math.max(o - 2, 0), o + n + 1)
        end
        local ok, skip = fits(o, bytes, at, shape)
        if ok then return o end
        at = at + skip
      end
    end)
    if found then return found end
  end
  return second
end

-- beside finds n next to each other in one row of which `accessible` are accessible
-- seats, with as many companion seats as there are; tiers may differ. Rather none
-- than more accessible seats than were asked for, unless there is no other way.
local function beside(n)
  local second
  for first, last in string.gmatch(accessibly, '(%d+)-(%d+)') do
    local low, high = math.max(tonumber(first) - n + 1, 0), tonumber(last) + n - 1
    local bytes, shape = redis.call('GETRANGE', STATUS, low, high), redis.call('GETRANGE', SHAPE, low, high)
    for seat = tonumber(first), tonumber(last) do
      local choice, score
      for start = math.max(seat - n + 1, low), seat do
        local seats, companions, fit = 0, 0, true
        for o = start, start + n - 1 do
          local f = (string.byte(shape, o - low + 1) or 64 + ROW) - 64
          if string.sub(bytes, o - low + 1, o - low + 1) ~= mark or f >= AREA or (o > start and flag(f, ROW)) then
            fit = false
            break
          end
          if flag(f, ACCESSIBLE) then seats = seats + 1 end
          if flag(f, COMPANION) then companions = companions + 1 end
        end
        if fit and seats >= accessible and of_channel(start, n, channel) and clear(start, n) then
          if seats > accessible then
            second = second or start
          elseif not score or companions > score then
            choice, score = start, companions
          end
        end
      end
      if choice then return choice end
    end
  end
  return second
end

-- apart seats n in as few groups as it finds, and rather none alone.
local function apart(n)
  while n > 0 do
    local sizes = {n}
    for size = n - 2, 2, -1 do sizes[#sizes + 1] = size end
    if n > 2 then sizes[#sizes + 1] = n - 1 end
    if n > 1 then sizes[#sizes + 1] = 1 end
    local placed
    for _, size in ipairs(sizes) do
      local first = together(size)
      if first then
        choose(first, size)
        placed = size
        break
      end
    end
    if not placed then return false end
    n = n - placed
  end
  return true
end

-- somewhere takes all of them from one area, where neighbours don't matter.
local function somewhere(n)
  local start = #wanted
  for first, last in string.gmatch(where, '(%d+)%+(%d+)') do
    if gather(tonumber(first), tonumber(last), n, channel) == n then return true end
    unchoose(start)
  end
  return false
end

local function find_best()
  if not entitled(channel) then return false end
  local first
  if accessible > 0 then first = beside(quantity) else first = together(quantity) end
  if first then
    choose(first, quantity)
    return true
  end
  return accessible == 0 and (somewhere(quantity) or split == '1' and apart(quantity))
end

if quantity > 0 then
  local start = #wanted
  if not find_best() then
    unchoose(start)
    local left = 0
    if entitled(channel) then
      for first, last in string.gmatch(accessible > 0 and accessibly or where, '(%d+)[-+](%d+)') do
        left = left + gather(tonumber(first), tonumber(last), MANY - left, channel)
      end
    end
    return refuse({-4, left})
  end
end

local names, picks = {}, #locked
for i, o in ipairs(wanted) do
  names[i] = int(o)
  -- What was chosen is free and nobody's lock is on it: clear has looked.
  if i > picks then lock(names[i], id, expires) end
end
take()
local seq = next_seq()
local made = {
  expires = expires, fence = seq, extensions = 0, pinned = false, visitor = visitor, ordinals = table.concat(names, ','),
}
save(id, made)
redis.call('SADD', VISITORS .. visitor, id)
redis.call('PEXPIRE', VISITORS .. visitor, DAY)
publish(seq)
return told(made)
