-- inventory_allot: keep tickets for a channel, or give them back to everybody.
--
-- KEYS
--   1-11 as in hold_prelude
-- ARGV
--   1-2 as in hold_prelude
--   3 number of the channel, 0 for none   4 'free' only tickets that nobody has, 'all'
--   5 ordinals "3,4,5"
-- RETURNS  {1, ordinal…} those that were allotted; -5
-- INVARIANTS
--   Who holds or bought a ticket keeps it: with 'all' its allotment counts when
--   it comes back.
-- COMPLEXITY  O(tickets), and one copy of the bytes for the first allotment

local to, all = string.char(48 + tonumber(ARGV[3])), ARGV[4] == 'all'

local total = redis.call('STRLEN', STATUS)
if total == 0 then return {-5} end
if redis.call('EXISTS', ALLOT) == 0 then redis.call('SET', ALLOT, string.rep('0', total)) end

local done = {1}
for o in string.gmatch(ARGV[5], '%d+') do
  local is = byte_of(STATUS, o)
  local nobodys = (is == 'A' or is == 'X') and redis.call('EXISTS', LOCKS .. o) == 0
  if nobodys or all then
    redis.call('SETRANGE', ALLOT, o, to)
    if nobodys then flip(o, resting(o)) end
    done[#done + 1] = tonumber(o)
  end
end
commit()
return done
