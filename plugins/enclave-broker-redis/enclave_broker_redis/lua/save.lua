-- KEYS: as in finish.lua. ARGV: token, place behind which it is, number of the save, state, and
-- the ids whose answers are kept.
local place = tonumber(ARGV[2])
local state, is, last = open_for(ARGV[1], place + 1)
if state ~= DONE then return state end
if is[3] then return ENDED end
if tonumber(ARGV[3]) <= tonumber(is[12]) then return DONE end
local kept = {}
for i = 5, #ARGV do kept[ARGV[i]] = true end
for _, id in ipairs(redis.call('HKEYS', KEYS[4])) do
  if not kept[id] then redis.call('HDEL', KEYS[4], id) end
end
redis.call('SET', KEYS[5], ARGV[4])
redis.call('HSET', KEYS[1], 'v', ARGV[3])
return DONE
