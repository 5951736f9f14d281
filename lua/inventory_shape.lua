-- inventory_shape: tell an inventory which seats are kept for some people now.
--
-- KEYS
--   1-11 as in hold_prelude   12 revision inv:{e}:revision of the layout that the shape is of
-- ARGV
--   1-2 as in hold_prelude
--   3 revision of the layout   4 shape
-- RETURNS  1 the shape is of this layout or a later one; 0 there is no inventory
-- INVARIANTS
--   States, counts and holds stay, and so does seq: nothing that people see changes.
-- COMPLEXITY  O(1), plus the copy of the bytes

if redis.call('EXISTS', STATUS, SEQ, COUNT, SHAPE, TIERS) < 5 then return 0 end
if tonumber(redis.call('GET', KEYS[12]) or '0') < tonumber(ARGV[3]) then
  redis.call('SET', SHAPE, ARGV[4])
  redis.call('SET', KEYS[12], ARGV[3])
end
return 1
