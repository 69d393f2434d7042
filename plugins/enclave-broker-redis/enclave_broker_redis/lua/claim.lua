-- ARGV: key, fingerprint, claimant, milliseconds. Returns which session it is, and the state.
local is = redis.call('HMGET', KEYS[1], 'i', 'st')
if not is[1] then return false end
local now = now()
expire(now)
local held = redis.call('HGET', KEYS[3], key)
if held then
  if string.sub(held, 17) ~= ARGV[2] then return {is[1], 'conflict'} end
  local answer = redis.call('HGET', KEYS[4], key)
  if answer then return {is[1], 'settled', answer} end
  if string.sub(held, 1, 16) == ARGV[3] then return {is[1], 'new'} end
  return {is[1], 'pending', redis.call('ZSCORE', KEYS[2], key) - now}
end
if redis.call('ZCARD', KEYS[2]) >= MAX_CLAIMS then
  local first = redis.call('ZRANGE', KEYS[5], 0, 0)[1]
  if not first then return {is[1], 'full'} end
  drop(first)
end
redis.call('ZADD', KEYS[2], now + ARGV[4], key)
redis.call('HSET', KEYS[3], key, ARGV[3] .. ARGV[2])
if is[2] then
  local left = redis.call('PTTL', KEYS[1])
  redis.call('PEXPIRE', KEYS[2], left)
  redis.call('PEXPIRE', KEYS[3], left)
end
return {is[1], 'new'}
