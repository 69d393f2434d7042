-- Adds a call's first event to the log and counts the call; a refused one is in the log too.
-- KEYS: session, log, then those of the windows. ARGV: token, place, type, payload, then the
-- windows. What came of it is kept with the event, for when the answer was lost on its way.
local place = tonumber(ARGV[2])
local state, is, last = open_for(ARGV[1], place)
if state ~= DONE then return state end
local refusing, time
if place > last then
  local keys = {}
  for i = 3, #KEYS do keys[i - 2] = KEYS[i] end
  refusing, time = acquire(keys, ARGV, 4)
  write(is, place, ARGV[3], ARGV[4], 'w', string.format('%d %.0f', refusing, time))
else
  local kept = redis.call('XRANGE', KEYS[2], place, place)[1]
  -- The log does not reach back to it any more.
  if not kept then return GAP end
  refusing, time = string.match(kept[2][4], '(%d+) (%d+)')
end
return {is[4] or '', tonumber(refusing), tonumber(time)}
