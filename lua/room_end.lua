-- room_end: a visitor goes, because they want to or because they have bought.
--
-- KEYS
--   1-9 as in room_prelude
-- ARGV
--   1 channel   2 visitor   3 'l' left or 'd' done
--   4 grace (ms): done ends the lease of a shopper this much later, not at once
-- RETURNS
--   the reply of room_prelude; code 1, -1 no such room, -5 unknown visitor
-- INVARIANTS
--   A slot is freed once. Leaving ends a wait or a turn and changes nothing
--   after the end. Done ends a turn, also one whose time ran out meanwhile,
--   and never touches a visitor who waits anew. A grace never makes a lease
--   longer.
-- COMPLEXITY
--   O(log n).

local visitor, letter, grace = ARGV[2], ARGV[3], tonumber(ARGV[4])
local epoch = tonumber(redis.call('HGET', ROOM, 'epoch') or '0')
if epoch == 0 then return { -1 } end
local v = find(visitor)
if v.state == UNKNOWN then return { -5 } end

if letter == 'd' and grace > 0 and v.letter == 's' and not v.stale then
  if v.till <= now + grace then return reply(1, v, visitor, epoch) end
  v.till = now + grace
  redis.call('ZADD', ACTIVE, int(v.till), visitor)
  redis.call('HSET', TURNS, visitor, turn_text('s', v))
  touch(visitor)
elseif v.letter == 'r' or v.letter == 's' then
  if v.stale and letter == 'l' then letter = v.letter == 'r' and 'x' or 'e' end
  drop(visitor, v, letter)
elseif letter == 'd' then
  if v.state ~= EXPIRED then return reply(1, v, visitor, epoch) end
  drop(visitor, v, 'd')
elseif v.state == WAITING or v.state == IN_LOBBY or v.state == AWAY then
  local set = v.state == IN_LOBBY and LOBBY or QUEUE
  if v.state == IN_LOBBY then v.score = 0 end
  v.state, v.admitted, v.claimed, v.till = LEFT, 0, 0, 0
  redis.call('HSET', TURNS, visitor, turn_text('l', v))
  touch(visitor)
  redis.call('ZREM', set, visitor)
  redis.call('ZREM', GONE, visitor)
else
  return reply(1, v, visitor, epoch)
end
redis.call('PUBLISH', CHANNEL, 'v ' .. visitor)
return reply(1, v, visitor, epoch)
