-- ARGV: key, answer.
local is = redis.call('HMGET', KEYS[1], 'n', 'an', 'ab', 'st')
if not is[1] then return 0 end
expire(now())
if redis.call('HEXISTS', KEYS[3], key) == 0 or redis.call('ZSCORE', KEYS[5], key) then return 0 end
local number = tonumber(is[2] or 0) + 1
redis.call('HSET', KEYS[4], key, ARGV[2])
redis.call('ZADD', KEYS[5], number, key)
redis.call('HSET', KEYS[1], 'an', number)
local bytes = redis.call('HINCRBY', KEYS[1], 'ab', #ARGV[2])
while bytes > MAX_CLAIM_BYTES and redis.call('ZCARD', KEYS[5]) > 1 do
  drop(redis.call('ZRANGE', KEYS[5], 0, 0)[1])
  bytes = tonumber(redis.call('HGET', KEYS[1], 'ab'))
end
if is[4] then
  local left = redis.call('PTTL', KEYS[1])
  redis.call('PEXPIRE', KEYS[4], left)
  redis.call('PEXPIRE', KEYS[5], left)
end
return 1
