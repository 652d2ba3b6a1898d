-- The requests of wrk: wrk ... -s post.lua URL -- OPERATION BODY
--
-- Requests have the headers of boto3. {n} in the body stands for the numbers below NUMBERS in turn. The last line has the
-- results: answers, microseconds, faults, and p50 and p99 per answer in microseconds.

local NUMBERS = 1000
local requests = {}
local turn = 0

function init(args)
  local headers = {
    ["Content-Type"] = "application/x-amz-json-1.1",
    ["X-Amz-Target"] = "Route53AutoNaming_v20170314." .. args[1],
    ["User-Agent"] = "Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux md/arch#x86_64 lang/python#3.11 cfg/retry-mode#legacy",
    ["X-Amz-Date"] = "20260101T000000Z",
    ["Authorization"] = "AWS4-HMAC-SHA256 Credential=123456789012/20260101/us-east-1/servicediscovery/aws4_request, "
      .. "SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=" .. string.rep("0a", 32),
    ["amz-sdk-invocation-id"] = "5a7fd2ab-1b0e-4a6a-9c4c-3d5dd2d1a1f0",
    ["amz-sdk-request"] = "attempt=1",
  }
  local count = args[2]:find("{n}", 1, true) and NUMBERS or 1
  for n = 1, count do
    requests[n] = wrk.format("POST", "/", headers, (args[2]:gsub("{n}", tostring(n))))
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local errors = summary.errors
  local faults = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("\nresult %d %d %d %d %d\n", summary.requests, summary.duration, faults,
    latency:percentile(50), latency:percentile(99)))
end
