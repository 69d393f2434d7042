-- Takes back what a call counted that other windows refused. KEYS: those that counted it.
-- ARGV: when they did.
local counted = tonumber(ARGV[1])
for _, key in ipairs(KEYS) do
  local kept = redis.call('LRANGE', key, 0, -1)
  for i = #kept, 1, -1 do
    if struct.unpack('<d', kept[i]) == counted then
      redis.call('LREM', key, -1, kept[i])
      break
    end
  end
end
return 1
