-- Takes over the commands that holders before had in hand. KEYS: as in fetch.lua. ARGV: token.
-- Returns number, command, number, …
if redis.call('HGET', KEYS[1], 'o') ~= ARGV[1] then return {} end
local found = {}
local begun = redis.call('HGETALL', KEYS[4])
for i = 1, #begun, 2 do
  if begun[i + 1] ~= ARGV[1] then
    found[#found + 1] = begun[i]
    found[#found + 1] = redis.call('HGET', KEYS[3], begun[i]) or ''
  end
end
return found
