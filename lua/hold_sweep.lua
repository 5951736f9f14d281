-- hold_sweep: free the tickets of holds whose time is up.
--
-- KEYS
--   1-11 as in hold_prelude
-- ARGV
--   1-2 as in hold_prelude   3 most holds in this call
-- RETURNS  {holds ended, tickets freed, ms until the next expiry or -1}
-- INVARIANTS
--   A ticket is freed only if no lock of another hold is on it. Sold and
--   blocked tickets stay as they are.
-- COMPLEXITY  O(holds ended · tickets in each)

local ended = sweep(tonumber(ARGV[3]))
commit()
local nearest = redis.call('ZRANGE', EXP, 0, 0, 'WITHSCORES')
local wait = -1
if nearest[2] then wait = math.max(tonumber(nearest[2]) - now, 0) end
return {ended, changed, wait}
