-- An estate has been seen to. KEYS: dead ones, what the dead one held. ARGV: the dead one.
if redis.call('SCARD', KEYS[2]) > 0 then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
return 1
