-- Exact sliding windows: for each key a list of when its latest calls were admitted, oldest
-- first. An entry is four doubles: when, the calls and the span of the largest window that the
-- key ever had, and how many entries there were with it, at most. Times are in microseconds, by
-- this server's clock. As many entries are kept as the largest window has calls.
local FORM = '<dddd'

local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- Counts a call once for each of `keys`, or for none. The windows are in `args` behind `skip`,
-- each as the place of its key, its calls and its span. Returns 0 and when it was counted, or
-- the place of the window that has room last and after how many microseconds.
local function acquire(keys, args, skip)
  local reading = clock()
  local now, latest_of, calls_of, span_of, kept_of = reading, {}, {}, {}, {}
  for i, key in ipairs(keys) do
    local latest = redis.call('LINDEX', key, -1)
    if latest then
      latest_of[i], calls_of[i], span_of[i], kept_of[i] = struct.unpack(FORM, latest)
      -- Time never goes back here: a clock that does stands still until it has caught up.
      if latest_of[i] > now then now = latest_of[i] end
    else
      latest_of[i], calls_of[i], span_of[i], kept_of[i] = 0, 0, 0, 0
    end
  end
  local refusing, free, widest = 0, now, {}
  for place = 1, (#args - skip) / 3 do
    local at = skip + 3 * place
    local i, calls, span = tonumber(args[at - 2]), tonumber(args[at - 1]), tonumber(args[at])
    if kept_of[i] >= calls then
      local first = redis.call('LINDEX', keys[i], -calls)
      if first then
        local frees = struct.unpack(FORM, first) + span
        if frees > free then refusing, free = place, frees end
      end
    end
    if calls > calls_of[i] then calls_of[i] = calls end
    if span > (widest[i] or span_of[i]) then widest[i] = span end
  end
  if refusing > 0 then return refusing, free - reading end
  for i, key in ipairs(keys) do
    local calls, span, kept = calls_of[i], widest[i] or span_of[i], kept_of[i] + 1
    if kept > calls then kept = calls end
    local length = redis.call('RPUSH', key, struct.pack(FORM, now, calls, span, kept))
    if length > calls then redis.call('LTRIM', key, -calls, -1) end
    -- Twice the span, and only at the first call of each: that is long enough for all of them.
    if widest[i] or math.floor(latest_of[i] / span) ~= math.floor(now / span) then
      redis.call('PEXPIRE', key, math.ceil((now - reading + 2 * span) / 1000) + 1)
    end
  end
  return 0, now
end
