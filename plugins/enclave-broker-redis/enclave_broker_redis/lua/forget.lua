-- KEYS: order, gone, whose, those of its replica, open, ended, then further lists that it may be
-- in. ARGV: id, whose it was, how many that are gone are remembered, 1 for one that has to have
-- ended.
local id = ARGV[1]
if redis.call('HGET', KEYS[3], id) ~= ARGV[2] then return 0 end
if ARGV[4] == '1' and not redis.call('ZSCORE', KEYS[6], id) then return 0 end
local number = redis.call('ZSCORE', KEYS[1], id)
redis.call('ZREM', KEYS[1], id)
redis.call('HDEL', KEYS[3], id)
redis.call('SREM', KEYS[4], id)
for i = 5, #KEYS do redis.call('ZREM', KEYS[i], id) end
if number then
  redis.call('ZADD', KEYS[2], number, id)
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - tonumber(ARGV[3]))
end
return 1
