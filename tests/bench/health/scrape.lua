-- Requests of wrk that let blackbox_exporter probe one target after the other: wrk ... -s scrape.lua URL -- FILE
--
-- The last line has the number of answers and of faults.

local requests = {}
local turn = 0

function init(args)
  for address in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("GET", "/probe?module=http&target=http://" .. address .. "/health")
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary)
  local errors = summary.errors
  io.write(string.format("\nresult %d %d\n", summary.requests,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
