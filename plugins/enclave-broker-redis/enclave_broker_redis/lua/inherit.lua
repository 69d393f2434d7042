-- Makes one the heir of a replica whose lease is over, for a time. KEYS: as in renew.lua.
-- ARGV: the dead one, milliseconds. Returns 0 when it lives, or has another heir by now.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = redis.call('ZSCORE', KEYS[1], ARGV[1])
local heirs = redis.call('ZSCORE', KEYS[2], ARGV[1])
if lease and tonumber(lease) >= now then return 0 end
if heirs and tonumber(heirs) >= now then return 0 end
if not lease and not heirs then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[1])
return 1
