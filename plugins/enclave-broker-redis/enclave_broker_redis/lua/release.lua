-- ARGV: key, and the claimant if it is to be only this one's.
if redis.call('ZSCORE', KEYS[5], key) then return 0 end
local held = redis.call('HGET', KEYS[3], key)
if not held or (ARGV[2] and string.sub(held, 1, 16) ~= ARGV[2]) then return 0 end
drop(key)
return 1
