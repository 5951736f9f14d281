-- hold: claim tickets for a while, all of them or none, for several requests at once.
--
-- KEYS
--   1-11 as in hold_prelude   12 active wr:{e}:active zset visitor -> end of lease (ms)
--   13 revision inv:{e}:revision of the layout that the shape is of
-- ARGV
--   1-2 as in hold_prelude
--   3.. for each request, twelve arguments:
--       visitor, hold id, ttl (ms), most tickets one buyer may have;
--       single seats: 'allow', 'avoid' (in what the script chooses) or 'refuse' (in
--       what is picked, too);
--       picked ordinals "3,4,5";
--       quantities of areas "quantity:channel:first-last,first-last;…", channel 0 for none;
--       the best of "quantity:channel:accessible:split", or '';
--       where the best are searched: "first-last,…" in order, "first+last" where
--       neighbours don't matter;
--       where accessible seats are searched: "first-last,…";
--       revision of the layout that the request was made from;
--       '1' for a hold that needs the visitor's lease, '0' for one that does not
-- RETURNS
--   a reply for each: a hold, made now or before under this id; -1, -2, -3, -4, -5,
--   -7, -10 or -11
-- INVARIANTS
--   Of a request nothing is held unless all is. A hold never outlives the visitor's
--   lease, if it needs one. Who asks for the best is refused only if no such tickets are left, also
--   when holds have lapsed that nobody swept yet.
-- COMPLEXITY
--   for each request: picked O(k). Areas and the best: O(1) for each range, one copy and
--   one scan (by memchr) of the status bytes up to where they are found, and O(k) for
--   each place that is looked at and turned down.

local ACTIVE, REVISION = KEYS[12], KEYS[13]
local CHUNK = 8000 -- bytes of the house that are read at once
local MANY = 100 -- where counting what is left ends

-- search adds what is asked for by quantity to the picked tickets, and returns why it
-- cannot be had, nil if it can.
local function search(visitor, single, wanted, mine, areas, best, where, accessibly)
  local quantity, channel, accessible, split = string.match(best, '^(%d+):(%d+):(%d+):(%d)$')
  quantity, channel, accessible = tonumber(quantity or 0), tonumber(channel or 0), tonumber(accessible or 0)

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

  local nth = 0
  for many, number, ranges in string.gmatch(areas, '(%d+):(%d+):([^;]*);') do
    nth = nth + 1
    local missing = tonumber(many)
    if entitled(tonumber(number)) then
      for first, last in string.gmatch(ranges, '(%d+)[-+](%d+)') do
        missing = missing - gather(tonumber(first), tonumber(last), missing, tonumber(number))
      end
    end
    if missing > 0 then return {-10, nth, tonumber(many) - missing} end
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
          if tried == 16 then shapes = string.rep('@', math.max(2 - from, 0)) .. redis.call('GETRANGE', SHAPE, math.max(from - 2, 0), from + #bytes + 1) end
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
      return {-4, left}
    end
  end
  return nil
end

-- What is known of those who ask, read for all of them together.
local leases = {}
local function look_up()
  local ids, visitors = {}, {}
  for at = 3, #ARGV, 12 do
    visitors[#visitors + 1], ids[#ids + 1] = ARGV[at], ARGV[at + 1]
  end
  local ends_of = redis.call('ZMSCORE', ACTIVE, unpack(visitors))
  local texts, known = redis.call('HMGET', HOLDS, unpack(ids)), redis.call('HMGET', OF, unpack(visitors))
  local buys = redis.call('HMGET', BOUGHT, unpack(visitors))
  for i, visitor in ipairs(visitors) do
    leases[visitor] = tonumber(ends_of[i] or '0')
    if holds[ids[i]] == nil then holds[ids[i]] = texts[i] end
    if lists[visitor] == nil then lists[visitor] = known[i] end
    bought[visitor] = buys[i] or '0'
  end
end

-- outdated tells whether the shape is of an older layout than a request.
local shaped
local function outdated(revision)
  if revision == 0 then return false end
  shaped = shaped or tonumber(redis.call('GET', REVISION) or '0')
  return shaped < revision
end

-- make serves the request whose arguments begin at `at`.
local function make(at)
  local visitor, id, ttl, limit, single = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), ARGV[at + 4]
  local picked, areas, best = ARGV[at + 5], ARGV[at + 6], ARGV[at + 7]
  locked, was_byte, channels = {}, {}, nil

  local lease = leases[visitor]
  if ARGV[at + 11] == '0' then lease = now + ttl end
  if lease <= now then return {-1} end
  local before = hold_of(id)
  if before then
    if before.visitor ~= visitor then return {-7} end
    if before.expires > now then return told(before) end
    finish(id, before)
  end
  if outdated(tonumber(ARGV[at + 10])) then return {-5} end
  local expires = math.min(now + ttl, lease)
  local px = int(expires - now)

  local wanted, names = {}, {}
  for o in string.gmatch(picked, '%d+') do
    names[#names + 1] = o
    wanted[#wanted + 1] = tonumber(o)
  end
  local picks = #wanted
  local more = tonumber(string.match(best, '^%d+') or 0)
  for quantity in string.gmatch(areas, '(%d+):%d+:') do more = more + tonumber(quantity) end
  if had_at_most(visitor) + picks + more > limit then
    local had = had_by(visitor, id)
    if had + picks + more > limit then return {-2, had} end
  end

  local function refuse(reply)
    unlock()
    return reply
  end

  local mine = {} -- chosen by this request
  local taken = {-3}
  for i, o in ipairs(wanted) do
    mine[o] = true
    local may, is = may_take(names[i], visitor)
    if is == '' then return refuse({-5}) end
    if not may or not lock(names[i], id, px, is) then taken[#taken + 1] = o end
  end
  if #taken > 1 then return refuse(taken) end
  if single == 'refuse' and picks > 0 then
    local left = singles(wanted, {})
    if #left > 0 then
      table.insert(left, 1, -11)
      return refuse(left)
    end
  end
  if more > 0 then
    if redis.call('EXISTS', STATUS) == 0 then return refuse({-5}) end
    local why = search(visitor, single, wanted, mine, areas, best, ARGV[at + 8], ARGV[at + 9])
    if why then return refuse(why) end
  end

  for i = picks + 1, #wanted do -- chosen: free, and nobody's lock is on it, as clear has seen
    names[i] = int(wanted[i])
    lock(names[i], id, px)
  end
  take()
  local made = {
    expires = expires, fence = next_seq(), extensions = 0, pinned = false, visitor = visitor, ordinals = table.concat(names, ','),
  }
  local till = int(expires)
  store(id, made, till)
  list_new(visitor, id, #wanted, till)
  return {1, expires, made.fence, 0, 0, unpack(wanted)}
end

sweep(SWEEP)
look_up()
local replies = {}
for at = 3, #ARGV, 12 do replies[#replies + 1] = make(at) end
commit()
return replies
