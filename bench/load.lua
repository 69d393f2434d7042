-- The requests of bench/load.py, for wrk with one thread. After `--`: what session ids begin
-- with, the body, what is accepted, what must stand in each answer, and the paths.

local ids, threads = 0, {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  prefix, body, wanted = args[1], args[2], args[4]
  headers = { ["Content-Type"] = "application/json", ["Accept"] = args[3] }
  paths = { unpack(args, 5) }
  wrong, said = 0, ""
end

function request()
  ids = ids + 1
  local sent = body:gsub("%$ID", prefix .. ids)
  return wrk.format("POST", paths[ids % #paths + 1], headers, sent)
end

function response(status, _, answer)
  if status < 200 or status > 299 or not answer:find(wanted, 1, true) then
    wrong, said = wrong + 1, status .. " " .. answer
  end
end

-- Answers, microseconds, wrong ones, failed connections, and what one of the wrong ones said.
function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  io.stderr:write(string.format("%d %d %d %d %s\n", summary.requests, summary.duration,
    threads[1]:get("wrong"), failed, threads[1]:get("said")))
end
