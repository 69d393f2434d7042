-- What has become of a command. KEYS: as in fetch.lua. ARGV: number. Returns whether the session
-- is there, its state if it has ended, whether the command is known, and whether it has begun.
local is = redis.call('HMGET', KEYS[1], 'n', 'st', 'o')
return {is[1] and 1 or 0, is[2] or '', is[3] or '', redis.call('HEXISTS', KEYS[3], ARGV[1]),
  redis.call('HEXISTS', KEYS[4], ARGV[1])}
