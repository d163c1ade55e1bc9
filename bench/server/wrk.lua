-- Sends one POST again and again; prints as one line of JSON what wrk has counted (latencies in microseconds).
wrk.method = "POST"

function init(arguments)
   local file = io.open(arguments[1], "rb")
   wrk.body = file:read("*a")
   file:close()
   for index = 2, #arguments do
      local name, value = arguments[index]:match("^(.-): (.*)$")
      wrk.headers[name] = value
   end
end

function done(summary, latency)
   local failed = summary.errors
   print(string.format(
      '{"requests": %d, "microseconds": %d, "failed": %d, "p50": %g, "p99": %g}',
      summary.requests, summary.duration,
      failed.connect + failed.read + failed.write + failed.timeout + failed.status,
      latency:percentile(50), latency:percentile(99)))
end
