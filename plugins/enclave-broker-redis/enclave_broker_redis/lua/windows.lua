-- Exact sliding windows: for each key a list of when its latest calls were admitted, oldest
-- first. An entry is `<when> <calls> <span>`, times in microseconds by this server's clock;
-- calls and span are the largest that any window of the key had: as many entries are kept.

local function entry_of(text)
  local at, calls, span = string.match(text, '(%d+) (%d+) (%d+)')
  return tonumber(at), tonumber(calls), tonumber(span)
end

local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- Counts a call once for each of `keys`, or for none. The windows are in `args` behind `skip`,
-- each as the place of its key, its calls and its span. Returns 0 and when it was counted, or
-- the place of the window that has room last and after how many microseconds.
local function acquire(keys, args, skip)
  local reading = clock()
  local now, calls_of, span_of = reading, {}, {}
  for i, key in ipairs(keys) do
    local latest = redis.call('LINDEX', key, -1)
    calls_of[i], span_of[i] = 0, 0
    if latest then
      local at, calls, span = entry_of(latest)
      calls_of[i], span_of[i] = calls, span
      -- Time never goes back here: a clock that does stands still until it has caught up.
      if at > now then now = at end
    end
  end
  local refusing, free = 0, now
  for place = 1, (#args - skip) / 3 do
    local at = skip + 3 * place
    local i, calls, span = tonumber(args[at - 2]), tonumber(args[at - 1]), tonumber(args[at])
    if calls_of[i] > 0 then
      local first = redis.call('LINDEX', keys[i], -calls)
      if first then
        local frees = entry_of(first) + span
        if frees > free then refusing, free = place, frees end
      end
    end
    if calls > calls_of[i] then calls_of[i] = calls end
    if span > span_of[i] then span_of[i] = span end
  end
  if refusing > 0 then return refusing, free - reading end
  for i, key in ipairs(keys) do
    local calls, span = calls_of[i], span_of[i]
    local kept = redis.call('RPUSH', key, string.format('%.0f %d %.0f', now, calls, span))
    if kept > calls then redis.call('LTRIM', key, -calls, -1) end
    redis.call('PEXPIRE', key, math.ceil((now - reading + span) / 1000) + 1)
  end
  return 0, now
end
