-- room_prelude: what the room scripts share. It stands before each of them.
--
-- KEYS
--   1 room    wr:{e}:room    hash: state, throttle, bucket, counters
--   2 lobby   wr:{e}:lobby   zset visitor -> join index
--   3 queue   wr:{e}:queue   zset visitor -> place
--   4 active  wr:{e}:active  zset visitor -> end of claim window or lease (ms)
--   5 turns   wr:{e}:turns   hash visitor -> turn
-- ARGV
--   1 channel of the room's news
--
-- A turn is "<letter>:<place>:<admitted>:<claimed>:<until>", times in ms:
--   r ready: the claim window runs        s shopping: the lease runs
--   x the claim window ended unused       e the lease ended
--   d done                                l left
-- A visitor is in at most one of lobby, queue and (as r or s) active. Whoever
-- had a turn, or left, has a record in turns until they join again.
--
-- The bucket counts in units of 1/60000 admission, so that a rate of n a minute
-- refills exactly n units each millisecond. Numbers are whole and below 2^53;
-- they become text by int() alone, since Redis and miniredis format large
-- numbers differently.

local ROOM, LOBBY, QUEUE, ACTIVE, TURNS = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local CHANNEL = ARGV[1]
local UNIT = 60000
local DAY = 86400000
local SLOT = 10000 -- ms; admissions are counted per slot for the wait estimate
local SLOTS = 60

-- What replies say of a visitor.
local UNKNOWN, IN_LOBBY, WAITING, READY, SHOPPING, DONE, LEFT, EXPIRED = 0, 1, 2, 3, 4, 5, 6, 7
local BY_LETTER = { r = READY, s = SHOPPING, d = DONE, l = LEFT, x = EXPIRED, e = EXPIRED }

local function int(n) return string.format('%.0f', n) end

local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)

local function turn_text(letter, place, admitted, claimed, till)
  return letter .. ':' .. int(place) .. ':' .. int(admitted) .. ':' .. int(claimed) .. ':' .. int(till)
end

local function turn_of(text)
  if not text then return nil end
  local letter, place, admitted, claimed, till = string.match(text, '^(%a):(%d+):(%d+):(%d+):(%d+)$')
  if not letter then return nil end
  return {
    letter = letter, place = tonumber(place), admitted = tonumber(admitted),
    claimed = tonumber(claimed), till = tonumber(till),
  }
end

-- find looks a visitor up. A turn whose time is over counts as expired even
-- before it is reaped; then `stale` is set.
local function find(visitor)
  local place = redis.call('ZSCORE', QUEUE, visitor)
  if place then return { state = WAITING, place = tonumber(place) } end
  local turn = turn_of(redis.call('HGET', TURNS, visitor))
  if turn then
    turn.state = BY_LETTER[turn.letter]
    if (turn.letter == 'r' or turn.letter == 's') and turn.till <= now then
      turn.state = EXPIRED
      turn.stale = true
    end
    return turn
  end
  if redis.call('ZSCORE', LOBBY, visitor) then return { state = IN_LOBBY, place = 0 } end
  return { state = UNKNOWN, place = 0 }
end

-- reply is what all visitor scripts return:
-- {code, state, place, ahead, admitted, claimed, until, now, epoch, extra}
-- ahead is -1 unless waiting.
local function reply(code, v, visitor, epoch, extra)
  local ahead = -1
  if v.state == WAITING then ahead = redis.call('ZRANK', QUEUE, visitor) end
  return { code, v.state, v.place, ahead, v.admitted or 0, v.claimed or 0, v.till or 0, now, epoch, extra or 0 }
end

-- drop ends an active turn: the slot is free, the turn gets another letter.
local function drop(visitor, turn, letter)
  redis.call('ZREM', ACTIVE, visitor)
  if turn.letter == 'r' then redis.call('HINCRBY', ROOM, 'ready', -1) end
  redis.call('HSET', TURNS, visitor, turn_text(letter, turn.place, turn.admitted, turn.claimed, turn.till))
  turn.letter, turn.state, turn.stale = letter, BY_LETTER[letter], nil
end

-- door reads what decides about admission, with the bucket refilled up to now.
-- A clock that went back refills nothing for the time it went back.
local function door()
  local f = redis.call('HMGET', ROOM, 'state', 'rate', 'burst', 'cap', 'claim', 'tokens', 'refilled',
    'shop_ok_until', 'stock', 'quiet_until', 'moving', 'ready', 'cursor', 'admitted')
  local d = {
    state = f[1], rate = tonumber(f[2]), burst = tonumber(f[3]), cap = tonumber(f[4]), claim = tonumber(f[5]),
    shop_ok_until = tonumber(f[8]), stock = tonumber(f[9]), quiet_until = tonumber(f[10]),
    moving = tonumber(f[11]), ready = tonumber(f[12]), cursor = tonumber(f[13]), admitted = tonumber(f[14]),
  }
  local elapsed = math.min(math.max(now - tonumber(f[7]), 0), DAY)
  d.tokens = math.min(d.burst * UNIT, tonumber(f[6]) + elapsed * d.rate)
  return d
end

local function keep(d)
  redis.call('HSET', ROOM, 'tokens', int(d.tokens), 'refilled', int(now), 'ready', int(d.ready),
    'cursor', int(d.cursor), 'admitted', int(d.admitted))
end

-- free is how many the door can let in now.
local function free(d)
  if d.state ~= 'open' and d.state ~= 'draining' then return 0 end
  if d.moving > 0 or d.quiet_until > now or d.shop_ok_until <= now or d.stock == 0 then return 0 end
  local n = math.min(math.floor(d.tokens / UNIT), d.cap - redis.call('ZCARD', ACTIVE))
  if d.stock > 0 then n = math.min(n, d.stock) end
  return math.max(n, 0)
end

-- admit gives turns to {visitor, place, visitor, place, …}, at most 500 of them,
-- who are no longer in the queue. The caller keeps d.
local function admit(d, list)
  local till = now + d.claim
  local leases, turns, names = {}, {}, {}
  for i = 1, #list, 2 do
    local place = tonumber(list[i + 1])
    leases[#leases + 1] = int(till)
    leases[#leases + 1] = list[i]
    turns[#turns + 1] = list[i]
    turns[#turns + 1] = turn_text('r', place, now, 0, till)
    names[#names + 1] = list[i]
    d.cursor = math.max(d.cursor, place)
  end
  redis.call('ZADD', ACTIVE, unpack(leases))
  redis.call('HSET', TURNS, unpack(turns))
  local n = #names
  d.tokens = d.tokens - n * UNIT
  d.ready = d.ready + n
  d.admitted = d.admitted + n
  redis.call('PUBLISH', CHANNEL, 'a ' .. table.concat(names, ' '))
end

-- count_slot adds n admissions to the current slot. A slot is busy when people
-- were left waiting at an open door: only those tell how fast a line moves.
local function count_slot(n, busy)
  local slot = int(math.floor(now / SLOT))
  local field = 'p' .. int(math.floor(now / SLOT) % SLOTS)
  local was, count, was_busy = string.match(redis.call('HGET', ROOM, field) or '', '^(%d+):(%d+):(%d)$')
  if was ~= slot then count, was_busy = 0, '0' end
  if busy then was_busy = '1' end
  redis.call('HSET', ROOM, field, slot .. ':' .. int(tonumber(count) + n) .. ':' .. was_busy)
end

-- open_room opens the door. Whoever is in the lobby gets the next places as a
-- block, in one step; the move itself is done by later ticks, and whoever joins
-- meanwhile stands behind the block.
local function open_room()
  redis.call('HSET', ROOM, 'state', 'open', 'closed_reason', '')
  local n = redis.call('ZCARD', LOBBY)
  if n > 0 and tonumber(redis.call('HGET', ROOM, 'moving')) == 0 then
    local base = tonumber(redis.call('HGET', ROOM, 'next'))
    redis.call('HSET', ROOM, 'moving', '1', 'move_base', int(base), 'next', int(base + n))
  end
  redis.call('PUBLISH', CHANNEL, 'r')
end
