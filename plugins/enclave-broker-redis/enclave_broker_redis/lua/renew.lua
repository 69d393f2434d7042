-- Says that a replica lives. KEYS: replicas by the end of their lease, dead ones by the end of
-- their heirs' time. ARGV: replica, milliseconds, 1 for one that is new. Returns whether it
-- still holds its sessions, who lives, and whose estate is to be seen to.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[3] ~= '1' and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return {0} end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
local over = '(' .. now
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', over)
for _, replica in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', over)) do
  due[#due + 1] = replica
end
return {1, redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf'), due}
