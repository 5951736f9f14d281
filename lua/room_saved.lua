-- room_saved: forget what was stored outside Redis.
--
-- KEYS
--   1-9 as in room_prelude
-- ARGV
--   1 channel (unused)
--   2 number of the last change that was stored, 0 for none
--   3.. visitor, when their turn changed (ms), as room_unsaved listed them
-- RETURNS
--   how many turns were forgotten
-- INVARIANTS
--   A turn that changed since stays listed.
-- COMPLEXITY
--   O(k log n).

if tonumber(ARGV[2]) > 0 then redis.call('ZREMRANGEBYSCORE', LOG, '-inf', ARGV[2]) end
local clean = 0
for i = 3, #ARGV, 2 do
  if tonumber(redis.call('ZSCORE', DIRTY, ARGV[i]) or '0') == tonumber(ARGV[i + 1]) then
    clean = clean + redis.call('ZREM', DIRTY, ARGV[i])
  end
end
return clean
