-- Puts a replica among those that are told of what happens to a session, or takes it out.
-- KEYS: session. ARGV: replica, 1 or 0.
local is = redis.call('HMGET', KEYS[1], 'n', 'f')
if not is[1] then return 0 end
local kept = {}
for replica in string.gmatch(is[2] or '', '%S+') do
  if replica ~= ARGV[1] then kept[#kept + 1] = replica end
end
if ARGV[2] == '1' then kept[#kept + 1] = ARGV[1] end
if #kept > 0 then redis.call('HSET', KEYS[1], 'f', table.concat(kept, ' '))
elseif is[2] then redis.call('HDEL', KEYS[1], 'f') end
return 1
