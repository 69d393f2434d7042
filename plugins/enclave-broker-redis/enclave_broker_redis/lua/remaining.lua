-- How many calls each window has room for. KEYS and ARGV: as in acquire.lua.
local now, left = clock(), {}
for place = 1, #ARGV / 3 do
  local at = 3 * place
  local key, calls, span = KEYS[tonumber(ARGV[at - 2])], tonumber(ARGV[at - 1]), tonumber(ARGV[at])
  local used = 0
  for _, text in ipairs(redis.call('LRANGE', key, -calls, -1)) do
    if struct.unpack(FORM, text) + span > now then used = used + 1 end
  end
  left[place] = calls - used
end
return left
