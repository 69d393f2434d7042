-- Takes a place for a session. KEYS: number, order, open, whose, gone, replicas, those of a
-- replica, then with a principal its open ones, then further lists. ARGV: id, when it expires,
-- whose it is, the replica, 1 with a principal, the bounds of all open ones and of the
-- principal's, or nothing.
local id = ARGV[1]
local whose = redis.call('HGET', KEYS[4], id)
if whose then return {whose == ARGV[3] and 'ok' or 'exists'} end

local function refusal(word, key, most)
  if most == '' then return nil end
  local count = redis.call('ZCARD', key)
  if count < tonumber(most) then return nil end
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return {word, count, first[2] or ''}
end

-- What it held would be nobody's, and nobody would see to it.
if not redis.call('ZSCORE', KEYS[6], ARGV[4]) then return {'dead'} end
local owned = ARGV[5] == '1'
local refused = owned and refusal('principal', KEYS[8], ARGV[7]) or refusal('all', KEYS[3], ARGV[6])
if refused then return refused end
local number = redis.call('INCR', KEYS[1])
redis.call('ZADD', KEYS[2], number, id)
redis.call('ZADD', KEYS[3], ARGV[2], id)
redis.call('HSET', KEYS[4], id, ARGV[3])
redis.call('ZREM', KEYS[5], id)
redis.call('SADD', KEYS[7], id)
if owned then redis.call('ZADD', KEYS[8], ARGV[2], id) end
for i = owned and 9 or 8, #KEYS do redis.call('ZADD', KEYS[i], number, id) end
return {'ok'}
