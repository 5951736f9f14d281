-- room_prelude: what the room scripts share. It stands before each of them.
--
-- KEYS
--   1 room    wr:{e}:room    hash: state, throttle, bucket, draw, counters
--   2 lobby   wr:{e}:lobby   zset visitor -> lane and join index
--   3 queue   wr:{e}:queue   zset visitor -> lane and place
--   4 ready   wr:{e}:ready   zset visitor -> end of claim window (ms)
--   5 active  wr:{e}:active  zset visitor -> end of lease (ms), for shoppers
--   6 turns   wr:{e}:turns   hash visitor -> turn
--   7 gone    wr:{e}:gone    zset visitor -> when the last connection dropped (ms)
--   8 log     wr:{e}:log     zset change -> number; changes made by the room itself
--   9 dirty   wr:{e}:dirty   zset visitor -> when their turn last changed (ms)
-- ARGV
--   1 channel of the room's news
--
-- A score is lane * 1e12 + place, or + join index in the lobby; lanes are 1 to
-- 5 and general is 4. All lanes share one count of places.
--
-- A turn is "<letter>:<score>:<admitted>:<claimed>:<until>:<missed>", times in
-- ms; missed counts the turns of this place that were not claimed:
--   r ready: the claim window runs        s shopping: the lease runs
--   x the claim window ended unused       e the lease ended
--   d done                                l left
--   k skipped, since nobody was there; the place is kept for when they come back
-- A visitor is in at most one of lobby, queue, ready and active. Whoever had a
-- turn, or left, has a record in turns until they join again. Who waits for a
-- second chance is in the queue and has a record x whose until is 0.
--
-- The bucket counts in units of 1/60000 admission, so that a rate of n a minute
-- refills exactly n units each millisecond. Numbers are whole and below 2^53;
-- they become text by int() alone, since Redis and miniredis format large
-- numbers differently.

local ROOM, LOBBY, QUEUE, READY_SET, ACTIVE = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local TURNS, GONE, LOG, DIRTY = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local CHANNEL = ARGV[1]
local UNIT = 60000
local DAY = 86400000
local SLOT = 10000 -- ms; admissions are counted per slot for the wait estimate
local SLOTS = 60
local LANE = 1000000000000
local GENERAL = 4
local MOST_LOG = 10000 -- changes kept while nobody stores them

-- What replies say of a visitor.
local UNKNOWN, IN_LOBBY, WAITING, READY, SHOPPING, DONE, LEFT, EXPIRED, AWAY = 0, 1, 2, 3, 4, 5, 6, 7, 8
local BY_LETTER = { r = READY, s = SHOPPING, d = DONE, l = LEFT, x = EXPIRED, e = EXPIRED, k = AWAY }

local function int(n) return string.format('%.0f', n) end

local function lane_of(score) return math.floor(score / LANE) end

local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)

local function turn_text(letter, turn)
  return letter .. ':' .. int(turn.score) .. ':' .. int(turn.admitted or 0) .. ':' .. int(turn.claimed or 0)
    .. ':' .. int(turn.till or 0) .. ':' .. int(turn.missed or 0)
end

local function turn_of(text)
  if not text then return nil end
  local letter, score, admitted, claimed, till, missed = string.match(text, '^(%a):(%d+):(%d+):(%d+):(%d+):(%d+)$')
  if not letter then return nil end
  return {
    letter = letter, score = tonumber(score), admitted = tonumber(admitted),
    claimed = tonumber(claimed), till = tonumber(till), missed = tonumber(missed),
  }
end

-- find looks a visitor up. A turn whose time is over counts as expired even
-- before it is reaped; then `stale` is set.
local function find(visitor)
  local score = redis.call('ZSCORE', QUEUE, visitor)
  if score then return { state = WAITING, score = tonumber(score) } end
  local turn = turn_of(redis.call('HGET', TURNS, visitor))
  if turn then
    turn.state = BY_LETTER[turn.letter]
    if (turn.letter == 'r' or turn.letter == 's') and turn.till <= now then
      turn.state = EXPIRED
      turn.stale = true
    end
    return turn
  end
  score = redis.call('ZSCORE', LOBBY, visitor)
  if score then return { state = IN_LOBBY, score = tonumber(score) } end
  return { state = UNKNOWN, score = 0 }
end

-- reply is what all visitor scripts return:
-- {code, state, score, ahead, admitted, claimed, until, now, epoch, extra, missed}
-- ahead is -1 unless waiting; pass it where it is known already.
local function reply(code, v, visitor, epoch, extra, ahead)
  if not ahead then
    ahead = -1
    if v.state == WAITING then ahead = redis.call('ZRANK', QUEUE, visitor) end
  end
  return { code, v.state, v.score, ahead, v.admitted or 0, v.claimed or 0, v.till or 0, now, epoch, extra or 0, v.missed or 0 }
end

-- touch notes that a turn changed and has to be stored outside Redis.
local function touch(visitor) redis.call('ZADD', DIRTY, int(now), visitor) end

-- note keeps a change that the room made by itself for the audit log.
local function note(actor, action, detail)
  local number = redis.call('HINCRBY', ROOM, 'log_seq', 1)
  redis.call('ZADD', LOG, int(number), int(number) .. '|' .. int(now) .. '|' .. actor .. '|' .. action .. '|' .. detail)
  if number % 100 == 0 then redis.call('ZREMRANGEBYRANK', LOG, 0, -MOST_LOG - 1) end
end

-- Writing comes before removing in these scripts: a Redis that is out of memory
-- refuses to write, which ends the script, but would have removed.

-- drop ends an active turn: the slot is free, the turn gets another letter.
local function drop(visitor, turn, letter)
  local set = turn.letter == 'r' and READY_SET or ACTIVE
  if letter == 'x' then turn.missed = turn.missed + 1 end
  redis.call('HSET', TURNS, visitor, turn_text(letter, turn))
  touch(visitor)
  redis.call('ZREM', set, visitor)
  turn.letter, turn.state, turn.stale = letter, BY_LETTER[letter], nil
end

-- come_back puts somebody who was skipped, or who has a second chance, back to
-- their old place. The count of missed turns stays, and outlives Redis: whoever
-- came back in time has the place, however long the wait is from now on.
local function come_back(visitor, v)
  redis.call('ZADD', QUEUE, int(v.score), visitor)
  if v.missed > 0 then
    v.till = 0
    redis.call('HSET', TURNS, visitor, turn_text('x', v))
    touch(visitor)
  else
    redis.call('HDEL', TURNS, visitor)
  end
  v.state, v.admitted, v.claimed, v.till = WAITING, 0, 0, 0
end

-- door reads what decides about admission, with the bucket refilled up to now.
-- A clock that went back refills nothing for the time it went back.
local function door()
  local f = redis.call('HMGET', ROOM, 'state', 'rate', 'burst', 'cap', 'claim', 'tokens', 'refilled',
    'shop_ok_until', 'stock', 'quiet_until', 'moving', 'cursor', 'admitted', 'available', 'bypass',
    'auto_on', 'auto_rate', 'served')
  local d = {
    state = f[1], rate = tonumber(f[2]), burst = tonumber(f[3]), cap = tonumber(f[4]), claim = tonumber(f[5]),
    shop_ok_until = tonumber(f[8]), stock = tonumber(f[9]), quiet_until = tonumber(f[10]),
    moving = tonumber(f[11]), cursor = tonumber(f[12]), admitted = tonumber(f[13]), available = tonumber(f[14]),
    bypass = f[15] == '1', served = tonumber(f[18]),
  }
  if f[16] == '1' then d.rate = math.min(d.rate, tonumber(f[17])) end
  local elapsed = math.min(math.max(now - tonumber(f[7]), 0), DAY)
  d.tokens = math.min(d.burst * UNIT, tonumber(f[6]) + elapsed * d.rate)
  return d
end

local function keep(d)
  redis.call('HSET', ROOM, 'tokens', int(d.tokens), 'refilled', int(now),
    'cursor', int(d.cursor), 'admitted', int(d.admitted), 'served', int(d.served))
end

-- No-shows. The room counts, with older ones fading, how many turns were claimed
-- in each eighth of the claim window (n0 … n7) and how many were not (nm).
local EIGHTHS = 8
local ENOUGH = 50   -- turns that must have ended before they count as evidence
local FADE = 400    -- beyond that many, all counts are halved

local function outcomes()
  local f = redis.call('HMGET', ROOM, 'n0', 'n1', 'n2', 'n3', 'n4', 'n5', 'n6', 'n7', 'nm')
  local o, claims = {}, 0
  for k = 1, EIGHTHS do
    o[k] = tonumber(f[k] or '0')
    claims = claims + o[k]
  end
  o.missed, o.claims = tonumber(f[EIGHTHS + 1] or '0'), claims
  -- Where nearly nobody claims, something is broken, and letting in more mends
  -- nothing.
  o.enough = o.claims + o.missed >= ENOUGH and o.claims * 4 >= o.missed
  return o
end

-- count_outcomes adds a claim in one of the eighths (1 … 8), or missed turns.
local function count_outcomes(eighth, missed)
  local o = outcomes()
  if eighth then o[eighth] = o[eighth] + 1 end
  o.missed = o.missed + missed
  local part = 1
  if o.claims + o.missed > FADE then part = 2 end
  local fields = {}
  for k = 1, EIGHTHS do
    fields[#fields + 1] = 'n' .. (k - 1)
    fields[#fields + 1] = int(math.floor(o[k] / part))
  end
  redis.call('HSET', ROOM, 'nm', int(math.floor(o.missed / part)), unpack(fields))
end

-- reserved is for how many of those who are ready a slot has to be kept: for all
-- of them, until it is known how many will not come; then for as many as will
-- come, by how long each has been ready, and a standard deviation more.
local function reserved(d, ready)
  if ready == 0 then return 0, false end
  local o = outcomes()
  if not o.enough or o.missed == 0 then return ready, false end
  local expected, variance, counted, later = 0, 0, 0, 0
  for k = EIGHTHS, 1, -1 do
    later = later + o[k]
    local chance = later / (later + o.missed)
    local upper, lower = now + d.claim * (EIGHTHS - k + 1) / EIGHTHS, now + d.claim * (EIGHTHS - k) / EIGHTHS
    local n = redis.call('ZCOUNT', READY_SET, '(' .. int(lower), int(upper))
    counted = counted + n
    expected = expected + n * chance
    variance = variance + n * chance * (1 - chance)
  end
  expected = expected + math.max(ready - counted, 0) -- with a longer window than today's
  return math.min(ready, math.ceil(expected + math.sqrt(variance))), true
end

-- free is how many the door can let in now.
local function free(d)
  if d.state ~= 'open' and d.state ~= 'draining' then return 0 end
  if d.moving > 0 or d.quiet_until > now then return 0 end
  if d.bypass then return 500 end
  if d.rate == 0 or d.shop_ok_until <= now or d.stock == 0 or d.available == 0 then return 0 end
  local shopping, ready = redis.call('ZCARD', ACTIVE), redis.call('ZCARD', READY_SET)
  local n = math.min(math.floor(d.tokens / UNIT), d.cap - shopping - reserved(d, ready))
  n = math.min(n, math.floor(d.cap * 1.5) - shopping - ready) -- whatever was counted
  if d.available > 0 then n = math.min(n, d.available) end
  return math.max(n, 0)
end

-- admit gives turns to {visitor, score, visitor, score, …}, at most 500 of them,
-- who are no longer in the queue. The caller keeps d.
local function admit(d, list)
  local till = now + d.claim
  local windows, turns, names, dirty = {}, {}, {}, {}
  for i = 1, #list, 2 do names[#names + 1] = list[i] end
  local before = redis.call('HMGET', TURNS, unpack(names))
  for i = 1, #names do
    local score = tonumber(list[2 * i])
    local was = turn_of(before[i])
    windows[#windows + 1] = int(till)
    windows[#windows + 1] = names[i]
    turns[#turns + 1] = names[i]
    turns[#turns + 1] = turn_text('r', { score = score, admitted = now, till = till, missed = was and was.missed })
    dirty[#dirty + 1] = int(now)
    dirty[#dirty + 1] = names[i]
    d.served = score
    if lane_of(score) >= GENERAL then d.cursor = math.max(d.cursor, score % LANE) end
  end
  redis.call('ZADD', READY_SET, unpack(windows))
  redis.call('HSET', TURNS, unpack(turns))
  redis.call('ZADD', DIRTY, unpack(dirty))
  local n = #names
  if not d.bypass then d.tokens = d.tokens - n * UNIT end
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

-- count_stays keeps for how long slots have been taken altogether (in slots times
-- ms), and how many were free again, with older ones fading. It is called once a
-- tick, after admissions: who came and went in between does not count.
local MOST_STAYS = 1000

local function count_stays(d)
  local n = redis.call('ZCARD', READY_SET) + redis.call('ZCARD', ACTIVE)
  local at, was, admitted, ms, ended = string.match(redis.call('HGET', ROOM, 'stays') or '', '^(%d+):(%d+):(%d+):(%d+):(%d+)$')
  if at then
    ms = tonumber(ms) + tonumber(was) * math.min(math.max(now - tonumber(at), 0), DAY)
    ended = tonumber(ended) + math.max(tonumber(was) + d.admitted - tonumber(admitted) - n, 0)
    if ended > math.max(MOST_STAYS, 4 * n) then ms, ended = math.floor(ms / 2), math.floor(ended / 2) end
  end
  redis.call('HSET', ROOM, 'stays', table.concat({ int(now), int(n), int(d.admitted), int(ms or 0), int(ended or 0) }, ':'))
end

-- set_state changes the state and says so.
local function set_state(state, reason, by)
  redis.call('HSET', ROOM, 'state', state, 'closed_reason', state == 'closed' and reason or '', 'closed_by', by or '')
  redis.call('PUBLISH', CHANNEL, 'r')
end

-- open_room opens the door. Whoever is in the lobby gets the next places as a
-- block: n (the highest join index), where the block begins and the digest of
-- the lobby are fixed here, in one step, and with them everybody's place. The
-- move itself is done by later ticks, and whoever joins meanwhile stands behind
-- the block. Where a public value was announced, the move waits for it.
local function open_room()
  set_state('open')
  local f = redis.call('HMGET', ROOM, 'next', 'moving', 'lobby_next', 'order', 'public_source', 'public_value', 'lobby_digest', 'draw_n')
  local n = tonumber(f[3])
  if n == 0 or tonumber(f[8]) > 0 then return end -- nobody gathered, or it opened before
  local moving = '1'
  if f[4] == 'draw' and f[5] ~= '' and f[6] == '' then moving = '2' end
  redis.call('HSET', ROOM, 'moving', moving, 'draw_base', f[1], 'draw_n', int(n), 'draw_digest', f[7], 'drawn_at', int(now),
    'next', int(tonumber(f[1]) + n))
end

