-- A session has ended: its place is free. KEYS: open, ended, whose, those of its replica, then
-- with a principal its open ones. ARGV: id, when, how many may be kept, whose it was.
-- Returns those that are too many, or 0 when it has been handed over meanwhile.
local id = ARGV[1]
local whose = redis.call('HGET', KEYS[3], id)
if not whose then return {} end
if whose ~= ARGV[4] then return 0 end
redis.call('ZREM', KEYS[1], id)
redis.call('SREM', KEYS[4], id)
if KEYS[5] then redis.call('ZREM', KEYS[5], id) end
redis.call('ZADD', KEYS[2], ARGV[2], id)
local over = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[3])
if over <= 0 then return {} end
return redis.call('ZRANGE', KEYS[2], 0, over - 1)
