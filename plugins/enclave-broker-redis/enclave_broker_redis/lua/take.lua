-- Makes the session another holder's. KEYS: session. ARGV: the token that it has now, the
-- one to come.
local is = redis.call('HMGET', KEYS[1], 'o', 'n', 'st', 'v')
if not is[2] then return 0 end
if is[1] ~= ARGV[2] then
  if is[3] then return -1 end
  if is[1] ~= ARGV[1] then return -2 end
  redis.call('HSET', KEYS[1], 'o', ARGV[2])
end
return {tonumber(is[2]), tonumber(is[4])}
