-- Hands a command to whoever holds the session. KEYS: session, numbers of those that wait, the
-- commands. ARGV: who asks, command, how many there may be. Returns its number and the holder's
-- token.
local is = redis.call('HMGET', KEYS[1], 'o', 'st')
if not is[1] then return 0 end
if is[2] then return -1 end
if redis.call('HLEN', KEYS[3]) >= tonumber(ARGV[3]) then return -4 end
local number = redis.call('HINCRBY', KEYS[1], 'q', 1)
redis.call('HSET', KEYS[3], number, ARGV[1] .. ' ' .. ARGV[2])
redis.call('RPUSH', KEYS[2], number)
return {number, is[1]}
