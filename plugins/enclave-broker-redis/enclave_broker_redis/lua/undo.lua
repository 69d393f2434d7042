-- Lets a creation not have happened, nor happen later. KEYS: as in create.lua. ARGV: which
-- creation, milliseconds in which it could still arrive.
redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[2])
if redis.call('HGET', KEYS[1], 'i') == ARGV[1] then redis.call('DEL', KEYS[1], KEYS[2]) end
return 1
