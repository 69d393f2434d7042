-- KEYS: session, record, creations that are not to be. ARGV: token, which creation it is, record.
local is = redis.call('HMGET', KEYS[1], 'n', 'i')
if is[1] then return is[2] == ARGV[2] and 1 or 0 end
if redis.call('GET', KEYS[3]) == ARGV[2] then return 0 end
redis.call('SET', KEYS[2], ARGV[3])
redis.call('HSET', KEYS[1], 'o', ARGV[1], 'i', ARGV[2], 'n', 0, 'b', 0, 'y', 0, 'x', 0,
  'k', 0, 'cb', 0, 'cy', 0, 'cx', 0, 'v', 0)
return 1
