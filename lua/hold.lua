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
--   picked: O(k). Areas and the best: one copy and one scan of the status bytes, by
--   memchr, plus O(1) for each stretch of free seats that is looked at and turned down.

local ACTIVE = KEYS[10]
local visitor, id, ttl, limit, single = ARGV[5], ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
local picked, areas, best, where, accessibly = ARGV[10], ARGV[11], ARGV[12], ARGV[13], ARGV[14]

local lease = tonumber(redis.call('ZSCORE', ACTIVE, visitor) or '0')
if lease <= now then return {-1} end

local before = hold_of(redis.call('GET', HOLDS .. id))
if before then
  if before.visitor ~= visitor then return {-7} end
  if before.expires > now then return told(before) end
end

if redis.call('EXISTS', STATUS) == 0 then return {-5} end
if before then finish(id, before) end
sweep(SWEEP)

local wanted = {}
for o in string.gmatch(picked, '%d+') do wanted[#wanted + 1] = tonumber(o) end
local count = #wanted
for quantity in string.gmatch(areas, '(%d+):%d+:') do count = count + tonumber(quantity) end
local quantity, channel, accessible, split = string.match(best, '^(%d+):(%d+):(%d+):(%d)$')
quantity, channel, accessible = tonumber(quantity or 0), tonumber(channel or 0), tonumber(accessible or 0)
count = count + quantity

local function refuse(reply)
  publish() -- what the sweep freed
  return reply
end

local had = had_by(visitor, id)
if had + count > limit then return refuse({-2, had}) end

local mine = {} -- chosen by this call
local taken = {-3}
for _, o in ipairs(wanted) do
  mine[o] = true
  if not may_take(int(o), visitor) then taken[#taken + 1] = o end
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

local all, shape, allot -- read when first needed: the whole house
local function look()
  if all then return end
  all = redis.call('GET', STATUS)
  shape = redis.call('GET', SHAPE) or ''
  allot = redis.call('GET', ALLOT) or ''
end

-- Positions count from 1, as strings do in Lua; ordinals from 0.
local function choose(at, n)
  for o = at - 1, at + n - 2 do
    wanted[#wanted + 1] = o
    mine[o] = true
  end
  -- What is chosen must not be found again.
  all = string.sub(all, 1, at - 1) .. string.rep('-', n) .. string.sub(all, at + n)
end

-- clear tells whether none of n tickets is locked or chosen: a free byte whose lock
-- somebody has is for the auditor to mend.
local function clear(at, n)
  for o = at - 1, at + n - 2 do
    if mine[o] or redis.call('EXISTS', LOCKS .. int(o)) == 1 then return false end
  end
  return true
end

local function of_channel(at, n, number)
  return number == 0 or string.sub(allot, at, at + n - 1) == string.rep(string.char(48 + number), n)
end

-- gather takes up to n single tickets of a range and returns how many it found.
local function gather(low, high, n, number)
  local mark, found, at = number == 0 and 'A' or 'X', 0, low
  while found < n do
    at = string.find(all, mark, at, true)
    if not at or at > high then break end
    if of_channel(at, 1, number) and clear(at, 1) then
      choose(at, 1)
      found = found + 1
    end
    at = at + 1
  end
  return found
end

local nth = 0
for many, number, ranges in string.gmatch(areas, '(%d+):(%d+):([^;]*);') do
  nth = nth + 1
  look()
  local missing = tonumber(many)
  if entitled(tonumber(number)) then
    for first, last in string.gmatch(ranges, '(%d+)[-+](%d+)') do
      missing = missing - gather(tonumber(first) + 1, tonumber(last) + 1, missing, tonumber(number))
    end
  end
  if missing > 0 then return refuse({-10, nth, tonumber(many) - missing}) end
end

if quantity > 0 then
  look()
  local mark = channel == 0 and 'A' or 'X'

  local function flags(at) return (string.byte(shape, at) or 64 + ROW) - 64 end
  local function is_open(at) return string.sub(all, at, at) == mark and flags(at) < ACCESSIBLE end
  -- alone tells whether taking n from `at` leaves a single seat on either side.
  local function alone(at, n)
    local left, right = at - 1, at + n
    if left >= 1 and not flag(flags(at), ROW) and is_open(left)
      and (flag(flags(left), ROW) or left == 1 or not is_open(left - 1)) then return true end
    return right <= #all and not flag(flags(right), ROW) and is_open(right)
      and (right == #all or flag(flags(right + 1), ROW) or not is_open(right + 1))
  end

  -- together finds n next to each other in one row, of one tier, and returns where.
  local function together(n)
    local block = string.rep(mark, n)
    local second -- the first place found, should each leave a single seat
    local from = 1
    for first, kind, last in string.gmatch(where, '(%d+)([-+])(%d+)') do
      local low, high = tonumber(first) + 1, tonumber(last) + 1
      if from < low then from = low end
      while kind == '-' and from + n - 1 <= high do
        local at = string.find(all, block, from, true)
        if not at then return second end
        from = at
        if at + n - 1 > high then break end
        -- '@' continues the row, the tier and the kind of its left neighbour.
        local edge = n > 1 and string.find(shape, '[^@]', at + 1)
        if edge and edge < at + n then
          from = edge
        elseif of_channel(at, n, channel) and clear(at, n) then
          if single == 'allow' or not alone(at, n) then return at end
          second = second or at
          from = at + 1
        else
          from = at + 1
        end
      end
    end
    return second
  end

  -- beside finds n next to each other in one row of which `accessible` are accessible
  -- seats, with as many companion seats as there are; tiers may differ. Rather none
  -- than more accessible seats than were asked for, unless there is no other way.
  local function beside(n)
    local second
    for first, last in string.gmatch(accessibly, '(%d+)-(%d+)') do
      local at, high = tonumber(first) + 1, tonumber(last) + 1
      while true do
        at = string.find(all, mark, at, true)
        if not at or at > high then break end
        local choice, score
        for start = math.max(at - n + 1, 1), at do
          local seats, companions, fits = 0, 0, start + n - 1 <= #all
          for p = start, start + n - 1 do
            local f = flags(p)
            if string.sub(all, p, p) ~= mark or f >= AREA or (p > start and flag(f, ROW)) then
              fits = false
              break
            end
            if flag(f, ACCESSIBLE) then seats = seats + 1 end
            if flag(f, COMPANION) then companions = companions + 1 end
          end
          if fits and seats >= accessible and of_channel(start, n, channel) and clear(start, n) then
            if seats > accessible then
              second = second or start
            elseif not score or companions > score then
              choice, score = start, companions
            end
          end
        end
        if choice then return choice end
        at = at + 1
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
        local at = together(size)
        if at then
          choose(at, size)
          placed = size
          break
        end
      end
      if not placed then return false end
      n = n - placed
    end
    return true
  end

  local done = false
  if entitled(channel) then
    if accessible > 0 then
      local at = beside(quantity)
      if at then choose(at, quantity) end
      done = at ~= nil
    else
      local start = #wanted
      local at = together(quantity)
      if at then
        choose(at, quantity)
        done = true
      else
        -- Where neighbours don't matter.
        for first, last in string.gmatch(where, '(%d+)%+(%d+)') do
          local found = gather(tonumber(first) + 1, tonumber(last) + 1, quantity, channel)
          if found == quantity then
            done = true
            break
          end
          while #wanted > start do -- not all in one area: none of it
            mine[wanted[#wanted]] = nil
            wanted[#wanted] = nil
          end
          all = redis.call('GET', STATUS)
        end
        if not done and split == '1' then done = apart(quantity) end
      end
    end
  end
  if not done then
    local left = 0
    all = redis.call('GET', STATUS)
    for first, last in string.gmatch(accessible > 0 and accessibly or where, '(%d+)[-+](%d+)') do
      local at, high = tonumber(first) + 1, tonumber(last) + 1
      while left < 100 and entitled(channel) do
        at = string.find(all, mark, at, true)
        if not at or at > high then break end
        if of_channel(at, 1, channel) then left = left + 1 end
        at = at + 1
      end
    end
    return refuse({-4, left})
  end
end

local expires = math.min(now + ttl, lease)
local names = {}
for _, o in ipairs(wanted) do
  local name = int(o)
  take(name, id, expires)
  names[#names + 1] = name
end
local seq = next_seq()
local made = {
  expires = expires, fence = seq, extensions = 0, pinned = false, visitor = visitor, ordinals = table.concat(names, ','),
}
save(id, made)
redis.call('SADD', VISITORS .. visitor, id)
redis.call('PEXPIRE', VISITORS .. visitor, DAY)
publish(seq)
return told(made)
