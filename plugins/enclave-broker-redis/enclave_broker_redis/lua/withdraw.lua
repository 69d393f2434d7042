-- Takes a command back. KEYS: as in fetch.lua. ARGV: number. Returns 1 when it was not begun;
-- else the token that begun it, or 0 when it is done with.
if redis.call('LREM', KEYS[2], 1, ARGV[1]) == 1 then
  redis.call('HDEL', KEYS[3], ARGV[1])
  return 1
end
return redis.call('HGET', KEYS[4], ARGV[1]) or 0
