-- What has become of a command. KEYS: as in fetch.lua. ARGV: number. Returns whether the session
-- is there, its state if it has ended, the holder's token, whether the command is known, and by
-- which token it was begun, if it was.
local is = redis.call('HMGET', KEYS[1], 'n', 'st', 'o')
return {is[1] and 1 or 0, is[2] or '', is[3] or '', redis.call('HEXISTS', KEYS[3], ARGV[1]),
  redis.call('HGET', KEYS[4], ARGV[1]) or ''}
