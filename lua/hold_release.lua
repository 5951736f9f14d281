-- hold_release: give one's own hold back.
--
-- KEYS
--   1-11 as in hold_prelude
-- ARGV
--   1-2 as in hold_prelude   3 visitor   4 hold id
-- RETURNS
--   {1, tickets freed}, 0 when the hold was gone already; -7 or -9
-- INVARIANTS  Locks are deleted only while they still carry this hold's id.
-- COMPLEXITY  O(tickets in the hold)

local visitor, id = ARGV[3], ARGV[4]

local h = hold_of(id)
if not h then return {1, 0} end
if h.visitor ~= visitor then return {-7} end
if h.pinned and h.expires > now then return {-9} end
finish(id, h)
commit()
return {1, changed}
