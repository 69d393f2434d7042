-- KEYS: as in append.lua, the saved state, and all others of the session.
-- ARGV: token, place, type, payload, state, time of the end, milliseconds to keep it.
local place = tonumber(ARGV[2])
local state, is, last = open_for(ARGV[1], place)
if state ~= DONE then return state end
if place > last then
  write(is, place, ARGV[3], ARGV[4])
  redis.call('HSET', KEYS[1], 'st', ARGV[5], 'at', ARGV[6])
  redis.call('DEL', KEYS[4], KEYS[5])
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[7]) end
elseif not is[3] then
  return ENDED
end
return is[4] or DONE
