-- Adds a call's first event to the log and counts the call; a refused one is in the log too.
-- KEYS: session, log, then those of the windows. ARGV: token, place, type, payload, then the
-- windows. What came of it is kept until the next, for when the answer was lost on its way.
local place = tonumber(ARGV[2])
local state, is, last = open_for(ARGV[1], place)
if state ~= DONE then return state end
local refusing, time
if place > last then
  write(is, place, ARGV[3], ARGV[4])
  local keys = {}
  for i = 3, #KEYS do keys[i - 2] = KEYS[i] end
  refusing, time = acquire(keys, ARGV, 4)
  redis.call('HSET', KEYS[1], 'w', string.format('%d %d %.0f', place, refusing, time))
else
  local kept = redis.call('HGET', KEYS[1], 'w') or ''
  local number
  number, refusing, time = string.match(kept, '(%d+) (%d+) (%d+)')
  -- Another call has been admitted since; this one's answer is gone.
  if tonumber(number) ~= place then return GAP end
end
return {is[4] or '', tonumber(refusing), tonumber(time)}
