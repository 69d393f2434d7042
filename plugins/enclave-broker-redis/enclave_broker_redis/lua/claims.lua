-- KEYS: session, claims by the end of their time, whose they are, answers, claims by the
-- order in which they were settled. What a claim is: 16 characters of the claimant's, and
-- the fingerprint.
local key = ARGV[1]

local function drop(key)
  redis.call('ZREM', KEYS[2], key)
  redis.call('HDEL', KEYS[3], key)
  local size = redis.call('HSTRLEN', KEYS[4], key)
  if redis.call('ZREM', KEYS[5], key) == 1 then
    redis.call('HDEL', KEYS[4], key)
    redis.call('HINCRBY', KEYS[1], 'ab', -size)
  end
end

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Lets those go whose time is over.
local function expire(now)
  for _, late in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do drop(late) end
end
