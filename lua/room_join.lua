-- room_join: give a visitor a place, or find the one they have.
--
-- KEYS
--   1-5       as in room_prelude
--   6 joins   wr:{e}:joins:<address>   new visitors of this minute
-- ARGV
--   1 channel
--   2 visitor
--   3 most new visitors per address and minute, 0 for no limit
--   4 place and 5 epoch of a verified receipt, 0 and 0 without one
--   6 '1' when the visitor's id was made just now, so that nobody can know it
-- RETURNS
--   the reply of room_prelude; extra is 1 when a new place was given, 2 when
--   the receipt's place was restored
--   code 1 has a place, or had a turn in a room that is closed now
--       -1 no such room   -2 the room takes nobody
--       -4 too many from this address; extra = ms until the minute is over
-- INVARIANTS
--   Joining again changes nothing while the visitor waits, is ready or shops.
--   Places rise with every join; a receipt restores its place only to a visitor
--   Redis has no record of, so a turn is never had twice by one receipt.
--   Nobody is admitted past somebody who waits.
-- COMPLEXITY
--   O(log n).

local visitor, limit = ARGV[2], tonumber(ARGV[3])
local receipt_place, receipt_epoch = tonumber(ARGV[4]), tonumber(ARGV[5])

local r = redis.call('HMGET', ROOM, 'state', 'epoch', 'next', 'moving', 'lobby_next', 'joined')
local state = r[1]
if not state then return { -1 } end
local epoch, next_place, moving, lobby_next, joined =
  tonumber(r[2]), tonumber(r[3]), tonumber(r[4]), tonumber(r[5]), tonumber(r[6])

local v = { state = UNKNOWN, place = 0 }
if ARGV[6] ~= '1' then v = find(visitor) end
if v.state >= IN_LOBBY and v.state <= SHOPPING then return reply(1, v, visitor, epoch) end
local gathering = state == 'scheduled' or state == 'lobby'
local restore = v.state == UNKNOWN and receipt_place > 0 and receipt_epoch == epoch and not gathering
if state == 'closed' or (state == 'draining' and not restore) then
  if v.state == UNKNOWN then return { -2 } end
  return reply(1, v, visitor, epoch)
end

if limit > 0 and v.state == UNKNOWN and not restore then
  local n = redis.call('INCR', KEYS[6])
  if n == 1 then redis.call('PEXPIRE', KEYS[6], 60000) end
  if n > limit then
    return { -4, 0, 0, -1, 0, 0, 0, now, epoch, math.max(redis.call('PTTL', KEYS[6]), 1) }
  end
end

-- An ended turn makes way for the new place.
if v.stale then drop(visitor, v, v.letter == 'r' and 'x' or 'e') end
if v.state ~= UNKNOWN then
  redis.call('HDEL', TURNS, visitor)
  redis.call('PUBLISH', CHANNEL, 'v ' .. visitor)
end

if gathering then
  redis.call('ZADD', LOBBY, int(lobby_next + 1), visitor)
  redis.call('HSET', ROOM, 'lobby_next', int(lobby_next + 1), 'joined', int(joined + 1))
  return reply(1, { state = IN_LOBBY, place = 0 }, visitor, epoch, 1)
end

if restore then
  redis.call('ZADD', QUEUE, int(receipt_place), visitor)
  redis.call('HSET', ROOM, 'next', int(math.max(next_place, receipt_place)), 'joined', int(joined + 1))
  return reply(1, { state = WAITING, place = receipt_place }, visitor, epoch, 2)
end

local place = next_place + 1
redis.call('HSET', ROOM, 'next', int(place), 'joined', int(joined + 1))
if state == 'open' and redis.call('ZCARD', QUEUE) == 0 then
  local d = door()
  if free(d) > 0 then
    admit(d, { visitor, int(place) })
    keep(d)
    count_slot(1, false)
    return reply(1, { state = READY, place = place, admitted = now, till = now + d.claim }, visitor, epoch, 1)
  end
end
redis.call('ZADD', QUEUE, int(place), visitor)
return reply(1, { state = WAITING, place = place }, visitor, epoch, 1)
