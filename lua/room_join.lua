-- room_join: give visitors a place, or find the one they have.
--
-- KEYS
--   1-9   as in room_prelude
--   10..  wr:{e}:joins:<address>   new visitors of this minute
--         wr:{e}:nonce:<challenge> set once a challenge was used
-- ARGV
--   1 channel
--   2 most new visitors per address and minute, 0 for no limit
--   3 new visitors per address and minute beyond which they are suspect, 0 for no limit
--   4 random number, 1 … 2^31-2
--   5 highest place that the asking node has seen given, 0 for none
--   6.. for the visitors one after the other either
--       'f', visitor, which key counts the address (0 none)
--     a visitor whose id was made just now, so that nobody can know it;
--       'n', how many, that many visitors
--     such visitors whose address is not counted; or
--       'j', visitor, address key, lane (0 general), invited ('1' by an invitation,
--       '2' by one for a single use), '1' challenge solved, which key is its nonce
--       (0 none), receipt's score, epoch and join index, claim time and lease end
--       of a verified pass (ms; 0 without)
-- RETURNS
--   {now, epoch}, and one reply of room_prelude for each visitor; extra is 1 when
--   a new place was given, 2 when an earlier place or turn was given back.
--   {score, ahead} is short for somebody who was given a new place and waits.
--   code 1 has a place, or had a turn in a room that is closed now
--       -1 no such room   -2 the room takes nobody
--       -4 too many from this address; extra = ms until the minute is over
--       -7 a challenge must be solved   -8 an invitation is needed
--       -9 the challenge was used before
-- INVARIANTS
--   Joining again changes nothing while the visitor waits, is ready or shops;
--   nor does running the script again because its reply was lost.
--   Places rise with every join, also when Redis has forgotten the last ones and a
--   node has not; a receipt or pass restores only a visitor Redis
--   has no record of, so a turn is never had twice by one receipt.
--   Nobody is admitted past somebody who waits.
--   Who missed one turn has a second one from the same place within the grace
--   time; who was skipped while away has their place back at any time.
-- COMPLEXITY
--   O(k log n) for k visitors.

local limit, soft, random = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local r = redis.call('HMGET', ROOM, 'state', 'epoch', 'next', 'moving', 'lobby_next', 'joined', 'order', 'invite_only',
  'challenge', 'grace', 'draw_n', 'lobby_digest')
local state = r[1]
local replies = { { now, tonumber(r[2] or '0') } }
local epoch, next_place, moving, lobby_next, joined = tonumber(r[2]), tonumber(r[3]), tonumber(r[4]), tonumber(r[5]), tonumber(r[6])
local order, invite_only, challenge, grace = r[7], r[8] == '1', r[9], tonumber(r[10])
local draw_n, digest = tonumber(r[11]), r[12]
local gathering = state == 'scheduled' or state == 'lobby'
if state and not gathering then next_place = math.max(next_place, tonumber(ARGV[5])) end

-- New places are written together at the end.
local additions, changed = {}, false
local waiting = redis.call('ZCARD', QUEUE)
local suspects = nil -- whether somebody stands behind the general lane

local function flush()
  if #additions > 0 then
    redis.call('ZADD', gathering and LOBBY or QUEUE, unpack(additions))
    additions = {}
  end
  if changed then
    redis.call('HSET', ROOM, 'next', int(next_place), 'lobby_next', int(lobby_next), 'joined', int(joined), 'lobby_digest', digest)
    changed = false
  end
end

local function add(score, visitor)
  additions[#additions + 1] = int(score)
  additions[#additions + 1] = visitor
  changed = true
  if #additions >= 400 then flush() end
end

-- counted counts a new visitor of an address. It returns the ms until there may
-- be more, or nil, and whether they are suspect.
local function counted(key)
  if key == 0 or (limit == 0 and soft == 0) then return nil, false end
  local n = redis.call('INCR', KEYS[key])
  if n == 1 then redis.call('PEXPIRE', KEYS[key], 60000) end
  if limit > 0 and n > limit then return math.max(redis.call('PTTL', KEYS[key]), 1), false end
  return nil, soft > 0 and n > soft
end

-- place gives a new place in the lobby or the line.
local function place(visitor, lane)
  joined = joined + 1
  if gathering then
    lobby_next = lobby_next + 1
    digest = redis.sha1hex(digest .. visitor .. int(lobby_next))
    local score = lane * LANE + lobby_next
    add(score, visitor)
    return reply(1, { state = IN_LOBBY, score = score }, visitor, epoch, 1)
  end
  next_place = next_place + 1
  local mine = next_place
  if order == 'random' then -- beside anybody of the lane, or at its end
    flush()
    random = random * 16807 % 2147483647 -- Park and Miller, 1988
    local first = redis.call('ZCOUNT', QUEUE, '-inf', '(' .. int(lane * LANE))
    local all = redis.call('ZCOUNT', QUEUE, int(lane * LANE), '(' .. int((lane + 1) * LANE))
    local rank = math.floor(random / 2147483647 * (all + 1))
    if rank < all then
      mine = tonumber(redis.call('ZRANGE', QUEUE, first + rank, first + rank, 'WITHSCORES')[2]) % LANE
    end
  end
  local score = lane * LANE + mine
  if state == 'open' and waiting == 0 then
    flush()
    local d = door()
    if free(d) > 0 then
      admit(d, { visitor, int(score) })
      keep(d)
      count_slot(1, false)
      changed = true
      return reply(1, { state = READY, score = score, admitted = now, till = now + d.claim }, visitor, epoch, 1)
    end
  end
  if suspects == nil then suspects = redis.call('ZCOUNT', QUEUE, int((GENERAL + 1) * LANE), '+inf') > 0 end
  local ahead = nil
  if order ~= 'random' and (lane > GENERAL or (lane == GENERAL and not suspects)) then ahead = waiting end
  suspects = suspects or lane > GENERAL
  waiting = waiting + 1
  add(score, visitor)
  if not ahead then flush() end
  return reply(1, { state = WAITING, score = score }, visitor, epoch, 1, ahead)
end

local function fresh(visitor, key, lane, invited, solved, nonce)
  if state == 'closed' or state == 'draining' then return { -2 } end
  if invite_only and invited == 0 then return { -8 } end
  if challenge ~= 'off' and not solved then return { -7 } end
  local wait, suspect = counted(key)
  if wait then return { -4, 0, 0, -1, 0, 0, 0, now, epoch, wait, 0 } end
  if nonce > 0 and not redis.call('SET', KEYS[nonce], visitor, 'NX', 'PX', 3600000) then return { -9 } end
  if lane == 0 then lane = GENERAL + (suspect and 1 or 0) end
  return place(visitor, lane)
end

local function known(i)
  flush() -- find looks into Redis
  local visitor, key, lane = ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local invited, solved, nonce = tonumber(ARGV[i + 4]), ARGV[i + 5] == '1', tonumber(ARGV[i + 6])
  local receipt, receipt_epoch, index = tonumber(ARGV[i + 7]), tonumber(ARGV[i + 8]), tonumber(ARGV[i + 9])
  local claimed, lease = tonumber(ARGV[i + 10]), tonumber(ARGV[i + 11])

  local v = find(visitor)
  if v.state == WAITING or v.state == IN_LOBBY then redis.call('ZREM', GONE, visitor) end
  if v.state >= IN_LOBBY and v.state <= SHOPPING then return reply(1, v, visitor, epoch) end
  local moves = state == 'open' or state == 'paused' or state == 'draining'
  if v.state == AWAY and moves then
    come_back(visitor, v)
    waiting = waiting + 1
    return reply(1, v, visitor, epoch, 2)
  end

  if v.state == UNKNOWN then
    if lease > now then -- the pass proves a turn that Redis has lost
      v = { state = SHOPPING, letter = 's', score = receipt, admitted = claimed, claimed = claimed, till = lease, missed = 0 }
      redis.call('ZADD', ACTIVE, int(lease), visitor)
      redis.call('HSET', TURNS, visitor, turn_text('s', v))
      touch(visitor)
      return reply(1, v, visitor, epoch, 2)
    end
    if receipt_epoch == epoch and state ~= 'closed' then
      if receipt % LANE > 0 and not gathering then
        redis.call('ZADD', QUEUE, int(receipt), visitor)
        waiting = waiting + 1
        next_place, joined, changed = math.max(next_place, receipt % LANE), joined + 1, true
        flush()
        return reply(1, { state = WAITING, score = receipt }, visitor, epoch, 2)
      end
      if index > 0 and gathering then
        local score = lane_of(receipt) * LANE + index
        redis.call('ZADD', LOBBY, int(score), visitor)
        lobby_next, joined, changed = math.max(lobby_next, index), joined + 1, true
        flush()
        return reply(1, { state = IN_LOBBY, score = score }, visitor, epoch, 2)
      end
      if index > 0 and index <= draw_n and not gathering then -- moves with the next tick
        local score = lane_of(receipt) * LANE + index
        redis.call('ZADD', LOBBY, int(score), visitor)
        if moving == 0 then
          moving = 1
          redis.call('HSET', ROOM, 'moving', '1')
        end
        return reply(1, { state = IN_LOBBY, score = score }, visitor, epoch, 2)
      end
    end
    return fresh(visitor, key, lane, invited, solved, nonce)
  end

  -- Somebody whose turn is over, or who left.
  if state == 'closed' or state == 'draining' and v.letter ~= 'x' and not (v.stale and v.letter == 'r') then
    return reply(1, v, visitor, epoch)
  end
  if v.stale then
    if v.letter == 'r' then count_outcomes(nil, 1) end
    drop(visitor, v, v.letter == 'r' and 'x' or 'e')
  end
  if v.letter == 'x' and v.missed == 1 and (v.till == 0 or now < v.till + grace) and moves then
    come_back(visitor, v)
    waiting = waiting + 1
    redis.call('PUBLISH', CHANNEL, 'v ' .. visitor)
    return reply(1, v, visitor, epoch, 2)
  end
  if state == 'draining' then return reply(1, v, visitor, epoch) end
  if invited == 2 then invited, lane = 0, GENERAL end -- it gave its turn
  if invite_only and invited == 0 then return { -8 } end
  touch(visitor)
  redis.call('HDEL', TURNS, visitor)
  redis.call('PUBLISH', CHANNEL, 'v ' .. visitor)
  return place(visitor, lane == 0 and GENERAL or lane)
end

-- newcomer places a visitor whose id was made just now. A client that lost our
-- reply asks again with the same ids: then they have their places. This is found
-- out by the first of them, before anybody is placed.
local placed, again = false, false
local function newcomer(visitor, key)
  if again or not placed then
    local v = find(visitor)
    if v.state ~= UNKNOWN then
      again = true
      return reply(1, v, visitor, epoch, 1)
    end
  end
  local r = fresh(visitor, key, 0, 0, false, 0)
  placed = placed or r[1] == 1
  return r
end

-- many places newcomers. During a rush all but the first of them stand one behind
-- the other at the end of the line, and that is quickly done.
local function many(first, last)
  for i = first, last do
    local visitor = ARGV[i]
    if placed and waiting > 0 and suspects == false and not gathering and order ~= 'random' then
      joined, next_place = joined + 1, next_place + 1
      local score = GENERAL * LANE + next_place
      replies[#replies + 1] = { score, waiting }
      waiting = waiting + 1
      add(score, visitor)
    else
      replies[#replies + 1] = newcomer(visitor, 0)
    end
  end
end

local i = 6
while i <= #ARGV do
  local kind, after = ARGV[i], i + 12
  if kind == 'f' then
    after = i + 3
  elseif kind == 'n' then
    after = i + 2 + tonumber(ARGV[i + 1])
  end
  if not state then
    for _ = kind == 'n' and i + 2 or after - 1, after - 1 do replies[#replies + 1] = { -1 } end
  elseif kind == 'f' then
    replies[#replies + 1] = newcomer(ARGV[i + 1], tonumber(ARGV[i + 2]))
  elseif kind == 'n' then
    many(i + 2, after - 1)
  else
    replies[#replies + 1] = known(i)
  end
  i = after
end
if state then flush() end
return replies
