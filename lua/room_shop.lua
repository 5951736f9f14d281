-- room_shop: the shop says that it is well, and what it has left.
--
-- KEYS
--   1-5 as in room_prelude
-- ARGV
--   1 channel
--   2 for how long this is good (ms); 0 says that the shop is not well
--   3 tickets left, -1 when not known
-- RETURNS
--   1, or -1 no such room
-- INVARIANTS
--   Nobody is admitted when the shop has been silent for longer than it said.
-- COMPLEXITY
--   O(1).

local f = redis.call('HMGET', ROOM, 'shop_ok_until', 'stock')
if not f[1] then return -1 end
local was_ok, was_stock = tonumber(f[1]) > now, tonumber(f[2])
local till, stock = now + tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('HSET', ROOM, 'shop_ok_until', int(till), 'stock', int(stock))
if was_ok ~= (till > now) or (was_stock == 0) ~= (stock == 0) then redis.call('PUBLISH', CHANNEL, 'r') end
return 1
