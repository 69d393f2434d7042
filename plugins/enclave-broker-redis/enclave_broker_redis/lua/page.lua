-- KEYS: a list of sessions by number, then the open ones if only these are wanted.
-- ARGV: the number behind which to begin, how many, how many to look at. Returns the number to
-- go on behind, or nothing at the end of the list, and the ids.
local most = tonumber(ARGV[2])
local seen = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf', 'WITHSCORES',
  'LIMIT', 0, ARGV[3])
local found = {}
for i = 1, #seen, 2 do
  if not KEYS[2] or redis.call('ZSCORE', KEYS[2], seen[i]) then
    found[#found + 1] = seen[i]
    if #found == most then return {seen[i + 1], found} end
  end
end
return {#seen == 2 * tonumber(ARGV[3]) and seen[#seen] or '', found}
