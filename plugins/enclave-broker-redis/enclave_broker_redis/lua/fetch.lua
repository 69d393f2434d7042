-- Takes the commands that wait, in their order. KEYS: session, numbers of those that wait, the
-- commands, by which token each was begun. ARGV: token, and 1 for those too that its replica has
-- begun already, for when an answer was lost. Returns number, command, number, … Those of a session
-- that has ended are not begun.
local is = redis.call('HMGET', KEYS[1], 'o', 'st')
if is[1] ~= ARGV[1] then return {} end
local numbers = {}
if ARGV[2] == '1' then
  -- Its token may be another by now: those of former holders were answered when it took it up.
  local own, begun = string.match(ARGV[1], '^[^.]*'), redis.call('HGETALL', KEYS[4])
  for i = 1, #begun, 2 do
    if string.match(begun[i + 1], '^[^.]*') == own then numbers[#numbers + 1] = begun[i] end
  end
  table.sort(numbers, function(one, other) return tonumber(one) < tonumber(other) end)
end
for _, number in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  if not is[2] then redis.call('HSET', KEYS[4], number, ARGV[1]) end
  numbers[#numbers + 1] = number
end
redis.call('DEL', KEYS[2])
local found = {}
for _, number in ipairs(numbers) do
  found[#found + 1] = number
  found[#found + 1] = redis.call('HGET', KEYS[3], number) or ''
end
return found
