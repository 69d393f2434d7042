-- Forgets the session. KEYS: all of its. ARGV: nothing, or which creation of it, to be forgotten
-- when that has ended. Returns who follows it, or whether there was any; -1 when it is another.
local is = redis.call('HMGET', KEYS[1], 'n', 'f', 'i', 'st')
if ARGV[1] and is[1] and not (is[3] == ARGV[1] and is[4]) then return -1 end
redis.call('UNLINK', unpack(KEYS))
if not is[1] then return 0 end
return is[2] or 1
