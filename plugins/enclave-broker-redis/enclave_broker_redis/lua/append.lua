-- KEYS: session, log, history, answers. ARGV: token, place, type, payload, then maybe what is
-- known of a call and its arguments, then maybe its id and the answer to keep under it.
local place = tonumber(ARGV[2])
local state, is, last = open_for(ARGV[1], place)
if state ~= DONE then return state end
if place > last then
  write(is, place, ARGV[3], ARGV[4])
  if ARGV[5] then
    local number, bytes = tonumber(is[8]) + 1, tonumber(is[9]) + #ARGV[6]
    entry(KEYS[3], number, bytes, ARGV[5], ARGV[6])
    local gone, gone_bytes = trim(KEYS[3], number, bytes,
      tonumber(is[10]), tonumber(is[11]), MAX_CALLS, MAX_CALL_BYTES)
    redis.call('HSET', KEYS[1], 'k', number, 'cb', string.format('%.0f', bytes),
      'cy', gone, 'cx', string.format('%.0f', gone_bytes))
  end
  if ARGV[7] then redis.call('HSET', KEYS[4], ARGV[7], ARGV[8]) end
end
return is[4] or DONE
