-- Takes back what a call counted that other windows refused. KEYS: those that counted it.
-- ARGV: when they did.
for _, key in ipairs(KEYS) do
  local kept = redis.call('LRANGE', key, 0, -1)
  for i = #kept, 1, -1 do
    if string.match(kept[i], '%d+') == ARGV[1] then
      redis.call('LREM', key, -1, kept[i])
      break
    end
  end
end
return 1
