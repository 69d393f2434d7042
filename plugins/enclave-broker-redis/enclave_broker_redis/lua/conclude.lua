-- A session has ended: its place is free. KEYS: order, open, ended, those of its replica, then
-- with a principal its open ones. ARGV: id, when, how many may be kept. Returns those that are
-- too many.
local id = ARGV[1]
redis.call('ZREM', KEYS[2], id)
redis.call('SREM', KEYS[4], id)
if KEYS[5] then redis.call('ZREM', KEYS[5], id) end
if not redis.call('ZSCORE', KEYS[1], id) then return {} end
redis.call('ZADD', KEYS[3], ARGV[2], id)
local over = redis.call('ZCARD', KEYS[3]) - tonumber(ARGV[3])
if over <= 0 then return {} end
return redis.call('ZRANGE', KEYS[3], 0, over - 1)
