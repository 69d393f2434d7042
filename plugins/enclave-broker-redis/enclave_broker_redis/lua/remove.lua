-- Forgets the session. KEYS: all of its. Returns who follows it, or whether there was any.
local is = redis.call('HMGET', KEYS[1], 'n', 'f')
redis.call('UNLINK', unpack(KEYS))
if not is[1] then return 0 end
return is[2] or 1
