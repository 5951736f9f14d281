-- room_shop: the shop says that it is well, and what it has left.
--
-- KEYS
--   1-9 as in room_prelude
-- ARGV
--   1 channel
--   2 for how long this is good (ms); 0 says that the shop is not well
--   3 tickets that can be had now, and 4 that are held: both -1 when not known
--   5 most tickets per buyer, 0 when not known
-- RETURNS
--   1, or -1 no such room
-- INVARIANTS
--   Nobody is admitted when the shop has been silent for longer than it said,
--   or when no ticket can be had. A room whose tickets are all sold closes, and
--   opens again should tickets come back.
-- COMPLEXITY
--   O(1).

local f = redis.call('HMGET', ROOM, 'shop_ok_until', 'stock', 'available', 'state', 'closed_by', 'stock_first', 'admitted')
if not f[1] then return -1 end
local was_ok, was_available, state = tonumber(f[1]) > now, tonumber(f[3]), f[4]
local till, available, held = now + tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local stock = -1
if available >= 0 then
  stock = available + held
  if tonumber(f[6]) < 0 then redis.call('HSET', ROOM, 'stock_first', int(stock), 'first_admitted', f[7]) end
  redis.call('HSET', ROOM, 'stock', int(stock), 'available', int(available), 'held', int(held), 'per_buyer', ARGV[5])
end
redis.call('HSET', ROOM, 'shop_ok_until', int(till))
if stock == 0 and (state == 'open' or state == 'paused' or state == 'draining') then
  set_state('closed', 'sold_out', 'stock')
  note('stock', 'room.close', 'sold_out')
elseif stock > 0 and state == 'closed' and f[5] == 'stock' then
  set_state('open')
  note('stock', 'room.open', int(stock) .. ' tickets came back')
elseif was_ok ~= (till > now) or (stock >= 0 and (was_available == 0) ~= (available == 0)) then
  redis.call('PUBLISH', CHANNEL, 'r')
end
return 1
