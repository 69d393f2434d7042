-- A replica goes: what it still holds is free at once. KEYS: replicas, what it holds. ARGV: replica.
if redis.call('SCARD', KEYS[2]) == 0 then return redis.call('ZREM', KEYS[1], ARGV[1]) end
return redis.call('ZADD', KEYS[1], 'XX', 0, ARGV[1])
