-- Tells a replica something. KEYS: its inbox. ARGV: how many it may hold, milliseconds after
-- which it is forgotten, and what it is told.
local told = {}
for i = 3, #ARGV do told[i - 2] = ARGV[i] end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(told))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
