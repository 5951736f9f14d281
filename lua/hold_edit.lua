-- hold_edit: add tickets to one's own hold and drop others, in one step or not at all.
--
-- KEYS
--   1-11 as in hold_prelude   12 active wr:{e}:active zset visitor -> end of lease (ms)
-- ARGV
--   1-2 as in hold_prelude
--   3 visitor   4 hold id   5 most tickets one buyer may have
--   6 single seats: 'allow', 'avoid' or 'refuse'
--   7 ordinals to add "3,4,5"   8 ordinals to drop
-- RETURNS
--   the hold as it is then; -1, -2, -3, -6, -7, -9, -11 or -12
-- INVARIANTS
--   Adding what is in the hold, or dropping what is not, changes nothing, so that
--   repeating a request does no more than the request. The hold's end stays.
-- COMPLEXITY  O(tickets)

local visitor, id, limit, single = ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6]

local h, code = live(id, visitor)
if not h then return {code} end
if h.pinned then return {-9} end

local has, keep, order = {}, {}, {}
for o in string.gmatch(h.ordinals, '%d+') do
  has[o], keep[o] = true, true
  order[#order + 1] = o
end
local dropped = {}
for o in string.gmatch(ARGV[8], '%d+') do
  if keep[o] then
    keep[o] = nil
    dropped[#dropped + 1] = tonumber(o)
  end
end
local added = {}
for o in string.gmatch(ARGV[7], '%d+') do
  if not has[o] then
    has[o], keep[o] = true, true
    added[#added + 1] = tonumber(o)
    order[#order + 1] = o
  end
end
if #added == 0 and #dropped == 0 then return told(h) end
local names = {}
for _, o in ipairs(order) do
  if keep[o] then names[#names + 1] = o end
end
if #names == 0 then return {-12} end

if #added > 0 then
  local lease = tonumber(redis.call('ZSCORE', KEYS[12], visitor) or '0')
  if lease <= now then return {-1} end
  sweep(SWEEP)
  local function refuse(reply)
    unlock()
    commit()
    return reply
  end
  local had = had_by(visitor, id)
  if had + #names > limit then return refuse({-2, had}) end
  local taken = {-3}
  for _, o in ipairs(added) do
    local name = int(o)
    local may, is = may_take(name, visitor)
    if not may or not lock(name, id, int(h.expires - now), is) then taken[#taken + 1] = o end
  end
  if #taken > 1 then return refuse(taken) end
  if single == 'refuse' then
    local left = singles(added, dropped)
    if #left > 0 then
      table.insert(left, 1, -11)
      return refuse(left)
    end
  end
end

for _, o in ipairs(dropped) do free(int(o), id) end
take()
h.fence = next_seq()
h.ordinals = table.concat(names, ',')
save(id, h)
commit()
return told(h)
