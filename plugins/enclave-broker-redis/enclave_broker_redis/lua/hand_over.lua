-- A session that the dead one held is its heir's. KEYS: whose, what the one held, what the other
-- holds, open. ARGV: id, whose it was, whose it is. One that has ended is nobody's.
redis.call('SREM', KEYS[2], ARGV[1])
local whose = redis.call('HGET', KEYS[1], ARGV[1])
if whose ~= ARGV[2] and whose ~= ARGV[3] then return 0 end
if not redis.call('ZSCORE', KEYS[4], ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('SADD', KEYS[3], ARGV[1])
return 1
