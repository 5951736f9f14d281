-- room_admit: one tick of a room. Any node may call it at any time.
--
-- KEYS
--   1-9 as in room_prelude
-- ARGV
--   1 channel
--   2 gap (ms): a call sooner than this after the last one does nothing
--   3 most visitors to admit, at most 500
--   4 most visitors to move from the lobby
--   5 how many an operator lets in now, whatever the rate; 0 for a usual tick
--   6 number of this call by an operator, 0 for a usual tick
-- RETURNS
--   {-1}  no such room
--   { ran, admitted, expired, cursor, waiting, ready, shopping, moving, now, closed, skipped }
--   ran is 0 when the call came too soon; closed is 0 or 1; moving is 1 while the
--   lobby moves into the line, 2 while the public value of a draw is awaited
-- INVARIANTS
--   Over any w ms at most burst + rate*w/60000 visitors are admitted, and never
--   do more than the cap shop, whoever calls and however often. Whom an operator
--   lets in is owed by the bucket, and counts for the cap.
--   The head of the queue goes first, but for those whose last connection
--   dropped long ago: they keep their place for when they come back.
--   Nobody goes before the lobby has moved.
--   What an operator asks for is done once: when the reply is lost and the script
--   runs again, it says what it did before.
-- COMPLEXITY
--   O(k log n) for k visitors admitted, skipped, expired or moved; independent of
--   the length of the queue otherwise.

local gap, most, chunk, forced = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

local r = redis.call('HMGET', ROOM, 'state', 'ticked', 'moving', 'draw_base', 'lobby_opens_at', 'opens_at', 'closes_at',
  'order', 'shop_ok_until', 'shop_seen', 'cutoff', 'away', 'cursor')
local state, ticked, moving, base, order = r[1], tonumber(r[2]), tonumber(r[3]), tonumber(r[4]), r[8]
if not state then return { -1 } end
local cutoff, away = tonumber(r[11]), tonumber(r[12])

local function answer(ran, admitted, expired, cursor, skipped)
  return { ran, admitted, expired, cursor, redis.call('ZCARD', QUEUE), redis.call('ZCARD', READY_SET),
    redis.call('ZCARD', ACTIVE), moving, now, state == 'closed' and 1 or 0, skipped }
end

if ticked <= now and now - ticked < gap and moving ~= 1 and forced == 0 then return answer(0, 0, 0, tonumber(r[13]), 0) end
redis.call('HSET', ROOM, 'ticked', int(now))

-- The schedule.
local lobby_opens, opens, closes = tonumber(r[5]), tonumber(r[6]), tonumber(r[7])
if state == 'scheduled' and lobby_opens > 0 and lobby_opens <= now then
  state = 'lobby'
  set_state(state)
  note('schedule', 'room.lobby', '')
end
if (state == 'scheduled' or state == 'lobby') and opens > 0 and opens <= now then
  open_room()
  state = 'open'
  note('schedule', 'room.open', '')
  moving = tonumber(redis.call('HGET', ROOM, 'moving'))
  base = tonumber(redis.call('HGET', ROOM, 'draw_base'))
end
if state ~= 'closed' and closes > 0 and closes <= now then
  state = 'closed'
  set_state(state, 'ended')
  note('schedule', 'room.close', 'ended')
end

-- A shop that stops answering says nothing: noticed here.
local shop_ok = tonumber(r[9]) > now and '1' or '0'
if shop_ok ~= r[10] and (state == 'open' or state == 'draining') then
  redis.call('HSET', ROOM, 'shop_seen', shop_ok)
  if r[10] ~= '' then -- else it is the first tick
    if shop_ok == '0' then redis.call('PUBLISH', CHANNEL, 'r') end
    note('health', shop_ok == '1' and 'room.shop_up' or 'room.shop_down', '')
  end
end

-- Turns whose time is over free their slots.
local expired, unclaimed = 0, 0
for _, set in ipairs({ READY_SET, ACTIVE }) do
  for _ = 1, 10 do
    local over = redis.call('ZRANGEBYSCORE', set, '-inf', int(now), 'LIMIT', 0, 500)
    if #over == 0 then break end
    local texts = redis.call('HMGET', TURNS, unpack(over))
    local turns, dirty = {}, {}
    for i = 1, #over do
      local turn = turn_of(texts[i]) or { letter = 's', score = 0, admitted = 0, claimed = 0, till = now, missed = 0 }
      local letter = 'e'
      if turn.letter == 'r' then
        letter = 'x'
        turn.missed = turn.missed + 1
        unclaimed = unclaimed + 1
      end
      turns[#turns + 1] = over[i]
      turns[#turns + 1] = turn_text(letter, turn)
      dirty[#dirty + 1] = int(now)
      dirty[#dirty + 1] = over[i]
    end
    redis.call('HSET', TURNS, unpack(turns))
    redis.call('ZADD', DIRTY, unpack(dirty))
    redis.call('ZREM', set, unpack(over))
    redis.call('PUBLISH', CHANNEL, 'v ' .. table.concat(over, ' '))
    expired = expired + #over
    if #over < 500 then break end
  end
end
if unclaimed > 0 then count_outcomes(nil, unclaimed) end

-- The lobby moves in chunks. First come, first served is decided here; the places
-- of a draw are brought by room_place.
if moving == 1 and order ~= 'draw' then
  local left = chunk
  while left > 0 do
    local popped = redis.call('ZPOPMIN', LOBBY, math.min(left, 500))
    local n = #popped / 2
    if n == 0 then break end
    local places = {}
    for i = 1, n do
      places[2 * i - 1] = int(tonumber(popped[2 * i]) + base)
      places[2 * i] = popped[2 * i - 1]
    end
    redis.call('ZADD', QUEUE, unpack(places))
    left = left - n
  end
end
if moving == 1 and redis.call('ZCARD', LOBBY) == 0 then
  moving = 0
  redis.call('HSET', ROOM, 'moving', '0')
  redis.call('PUBLISH', CHANNEL, 'r')
end

-- head takes up to n from the head of the line who are there, and skips others.
local skipped, at_cutoff = 0, false
local function head(n)
  local list = {}
  while #list < 2 * n and skipped < 2000 and not at_cutoff do
    local popped = redis.call('ZPOPMIN', QUEUE, n - #list / 2)
    if #popped == 0 then break end
    if cutoff > 0 and state == 'draining' and tonumber(popped[#popped]) > GENERAL * LANE + cutoff then
      local back = {}
      while #popped > 0 and tonumber(popped[#popped]) > GENERAL * LANE + cutoff do
        back[#back + 1] = int(tonumber(table.remove(popped)))
        back[#back + 1] = table.remove(popped)
      end
      redis.call('ZADD', QUEUE, unpack(back))
      at_cutoff = true
    end
    local since = nil
    if away > 0 and #popped > 0 and redis.call('ZCARD', GONE) > 0 then
      local ids = {}
      for i = 1, #popped, 2 do ids[#ids + 1] = popped[i] end
      since = redis.call('ZMSCORE', GONE, unpack(ids))
    end
    for i = 1, #popped, 2 do
      local gone = since and since[(i + 1) / 2]
      if gone and tonumber(gone) <= now - away then
        local was = turn_of(redis.call('HGET', TURNS, popped[i]))
        redis.call('HSET', TURNS, popped[i], turn_text('k', {
          score = tonumber(popped[i + 1]), till = was and was.till, missed = was and was.missed,
        }))
        redis.call('ZREM', GONE, popped[i])
        redis.call('PUBLISH', CHANNEL, 'v ' .. popped[i])
        skipped = skipped + 1
      else
        list[#list + 1] = popped[i]
        list[#list + 1] = popped[i + 1]
        if gone then redis.call('ZREM', GONE, popped[i]) end
      end
    end
  end
  return list
end

local d = door()
local n
if forced > 0 then
  n = 0
  local last = redis.call('HMGET', ROOM, 'forced', 'forced_n')
  if last[1] == ARGV[6] then return answer(1, tonumber(last[2]), expired, d.cursor, 0) end
  if moving == 0 and d.quiet_until <= now and d.stock ~= 0 and (state == 'open' or state == 'paused' or state == 'draining') then
    n = math.min(forced, d.cap - redis.call('ZCARD', ACTIVE) - redis.call('ZCARD', READY_SET))
  end
else
  n = free(d)
end
n = math.min(n, most, 500)
local admitted = 0
if n > 0 then
  local list = head(n)
  if #list > 0 then
    admit(d, list)
    admitted = #list / 2
  end
end
if forced > 0 then redis.call('HSET', ROOM, 'forced', ARGV[6], 'forced_n', int(admitted)) end
keep(d)

local waiting = redis.call('ZCARD', QUEUE)
if state == 'draining' and moving == 0 and not at_cutoff and cutoff > 0 and waiting > 0 then
  local first = redis.call('ZRANGE', QUEUE, 0, 0, 'WITHSCORES')
  at_cutoff = tonumber(first[2]) > GENERAL * LANE + cutoff
end
if state == 'draining' and moving == 0 and (waiting == 0 or at_cutoff) then
  state = 'closed'
  set_state(state, 'drained')
  note('drain', 'room.close', 'drained')
end
local at_the_door = waiting > 0 and (state == 'open' or state == 'draining')
  and d.shop_ok_until > now and d.stock ~= 0 and d.available ~= 0 and d.quiet_until <= now and moving == 0
if admitted > 0 or at_the_door then count_slot(admitted, at_the_door) end
count_stays(d)

return answer(1, admitted, expired, d.cursor, skipped)
