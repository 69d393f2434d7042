-- A session's log and its history are streams whose ids are `<number>-<bytes up to and with it>`:
-- so the size of what is kept is known without reading it.

local MISSING, ENDED, LOST, GAP, DONE = 0, -1, -2, -3, 1

-- The session's hash, or why the holder of `token` may not write at this place.
local function open_for(token, place)
  local is = redis.call('HMGET', KEYS[1],
    'o', 'n', 'st', 'f', 'b', 'y', 'x', 'k', 'cb', 'cy', 'cx', 'v')
  local last = tonumber(is[2])
  if not last then return MISSING end
  local mine = is[1] == token
  if is[3] and not mine then return token == '' and ENDED or LOST end
  if is[3] and place > last then return ENDED end
  if not mine then return LOST end
  if place > last + 1 then return GAP end
  return DONE, is, last
end

-- Lets the oldest entries go, an eighth of those allowed at a time; never the newest.
-- Returns how many have gone since the beginning, and their bytes.
local function trim(key, last, bytes, gone, gone_bytes, most, most_bytes)
  local before = gone
  if last - gone > most then
    gone = last - most + math.floor(most / 8)
    redis.call('XTRIM', key, 'MINID', gone + 1)
    local first = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
    gone_bytes = tonumber(string.match(first[1], '-(%d+)')) - #first[2][2]
  end
  while bytes - gone_bytes > most_bytes and gone < last - 1 do
    local entries = redis.call('XRANGE', key, gone + 1, last - 1, 'COUNT', 16)
    -- Somebody else has taken them away.
    if #entries == 0 then return last - 1, bytes, true end
    for _, entry in ipairs(entries) do
      local number, upto = string.match(entry[1], '(%d+)-(%d+)')
      gone, gone_bytes = tonumber(number), tonumber(upto)
      if bytes - gone_bytes <= most_bytes then break end
    end
    redis.call('XTRIM', key, 'MINID', gone + 1)
  end
  return gone, gone_bytes, gone ~= before
end

local function entry(key, number, bytes, ...)
  redis.call('XADD', key, string.format('%d-%.0f', number, bytes), ...)
end

-- Adds an event to the log, and with it maybe a name and a value that are no part of it.
local function write(is, place, type, payload, ...)
  local bytes = tonumber(is[5]) + #payload
  entry(KEYS[2], place, bytes, type, payload, ...)
  redis.call('HSET', KEYS[1], 'n', place, 'b', string.format('%.0f', bytes))
  local gone, gone_bytes, changed = trim(KEYS[2], place, bytes,
    tonumber(is[6]), tonumber(is[7]), MAX_EVENTS, MAX_EVENT_BYTES)
  if changed then redis.call('HSET', KEYS[1], 'y', gone, 'x', string.format('%.0f', gone_bytes)) end
end
