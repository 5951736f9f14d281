-- room_admit: one tick of a room. Any node may call it at any time.
--
-- KEYS
--   1-5 as in room_prelude
-- ARGV
--   1 channel
--   2 gap (ms): a call sooner than this after the last one does nothing
--   3 most visitors to admit, at most 500
--   4 most visitors to move from the lobby
-- RETURNS
--   {-1}  no such room
--   { ran, admitted, expired, cursor, waiting, active, moving, now, closed }
--   ran is 0 when the call came too soon; moving and closed are 0 or 1
-- INVARIANTS
--   Over any w ms at most burst + rate*w/60000 visitors are admitted, and never
--   are more than the cap active, whoever calls and however often.
--   The head of the queue goes first; nobody goes before the lobby has moved.
-- COMPLEXITY
--   O(k log n) for k visitors admitted, expired or moved; independent of the
--   length of the queue otherwise.

local gap, most, chunk = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local r = redis.call('HMGET', ROOM, 'state', 'ticked', 'moving', 'move_base', 'lobby_opens_at', 'opens_at', 'closes_at', 'cursor')
local state, ticked, moving, base = r[1], tonumber(r[2]), tonumber(r[3]), tonumber(r[4])
if not state then return { -1 } end
if ticked <= now and now - ticked < gap and moving == 0 then
  return { 0, 0, 0, tonumber(r[8]), redis.call('ZCARD', QUEUE), redis.call('ZCARD', ACTIVE), 0, now, state == 'closed' and 1 or 0 }
end
redis.call('HSET', ROOM, 'ticked', int(now))

-- The schedule.
local lobby_opens, opens, closes = tonumber(r[5]), tonumber(r[6]), tonumber(r[7])
if state == 'scheduled' and lobby_opens > 0 and lobby_opens <= now then
  state = 'lobby'
  redis.call('HSET', ROOM, 'state', state)
  redis.call('PUBLISH', CHANNEL, 'r')
end
if (state == 'scheduled' or state == 'lobby') and opens > 0 and opens <= now then
  open_room()
  state = 'open'
end
if state ~= 'closed' and closes > 0 and closes <= now then
  state = 'closed'
  redis.call('HSET', ROOM, 'state', state, 'closed_reason', 'ended')
  redis.call('PUBLISH', CHANNEL, 'r')
end

-- Turns whose time is over free their slots.
local expired = 0
for _ = 1, 10 do
  local over = redis.call('ZRANGEBYSCORE', ACTIVE, '-inf', int(now), 'LIMIT', 0, 500)
  if #over == 0 then break end
  local texts = redis.call('HMGET', TURNS, unpack(over))
  local turns, unclaimed = {}, 0
  for i = 1, #over do
    local turn = turn_of(texts[i]) or { letter = 's', place = 0, admitted = 0, claimed = 0, till = now }
    local letter = 'e'
    if turn.letter == 'r' then
      letter = 'x'
      unclaimed = unclaimed + 1
    end
    turns[#turns + 1] = over[i]
    turns[#turns + 1] = turn_text(letter, turn.place, turn.admitted, turn.claimed, turn.till)
  end
  redis.call('HSET', TURNS, unpack(turns))
  redis.call('ZREM', ACTIVE, unpack(over))
  if unclaimed > 0 then redis.call('HINCRBY', ROOM, 'ready', -unclaimed) end
  redis.call('PUBLISH', CHANNEL, 'v ' .. table.concat(over, ' '))
  expired = expired + #over
  if #over < 500 then break end
end

-- The lobby moves in chunks; each takes the next places of its block.
if redis.call('HGET', ROOM, 'moving') == '1' then
  moving = 1
  base = tonumber(redis.call('HGET', ROOM, 'move_base'))
  local left = chunk
  while left > 0 do
    local popped = redis.call('ZPOPMIN', LOBBY, math.min(left, 500))
    local n = #popped / 2
    if n > 0 then
      local places = {}
      for i = 1, n do
        places[2 * i - 1] = int(base + i)
        places[2 * i] = popped[2 * i - 1]
      end
      redis.call('ZADD', QUEUE, unpack(places))
      base = base + n
      left = left - n
    end
    if n < math.min(left + n, 500) or redis.call('ZCARD', LOBBY) == 0 then
      moving = 0
      break
    end
  end
  redis.call('HSET', ROOM, 'moving', int(moving), 'move_base', int(base))
end

local d = door()
local n = math.min(free(d), most, 500)
local admitted = 0
if n > 0 then
  local head = redis.call('ZPOPMIN', QUEUE, n)
  if #head > 0 then
    admit(d, head)
    admitted = #head / 2
  end
end
keep(d)

local waiting = redis.call('ZCARD', QUEUE)
if state == 'draining' and waiting == 0 and moving == 0 then
  state = 'closed'
  redis.call('HSET', ROOM, 'state', state, 'closed_reason', 'drained')
  redis.call('PUBLISH', CHANNEL, 'r')
end
local at_the_door = waiting > 0 and (state == 'open' or state == 'draining')
  and d.shop_ok_until > now and d.stock ~= 0 and d.quiet_until <= now and moving == 0
if admitted > 0 or at_the_door then count_slot(admitted, at_the_door) end

return { 1, admitted, expired, d.cursor, waiting, redis.call('ZCARD', ACTIVE), moving, now, state == 'closed' and 1 or 0 }
