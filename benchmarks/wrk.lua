-- Delivers updates as Telegram does, each with an id of its own, and keeps the job's id of every answer.
-- Arguments: the first update_id, and the body, in which NUMBER stands for that id.

local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(arguments)
   number = tonumber(arguments[1])
   local body = arguments[2]
   local length = #body:gsub("NUMBER", number)  -- the same for each: all ids have as many digits
   local head = "POST " .. wrk.path .. " HTTP/1.1\r\nHost: " .. wrk.host .. "\r\nContent-Type: application/json\r\n"
   parts = {}
   for part in (head .. "Content-Length: " .. length .. "\r\n\r\n" .. body .. "NUMBER"):gmatch("(.-)NUMBER") do
      table.insert(parts, part)
   end
   jobs = {}
   failed = ""
end

function request()
   number = number + 1
   return table.concat(parts, string.format("%d", number))
end

function response(status, headers, body)
   -- A status of 200 proves nothing: PHP has it for a script that failed, with the error in the body.
   local job = status == 200 and body:match('^{"ok": ?true, ?"queued_job_id": ?(%d+)}')
   if job then
      jobs[#jobs + 1] = job
   else
      failed = status .. " " .. body
   end
end

function done(summary, latency)
   local errors = summary.errors
   print("seconds", summary.duration / 1e6)
   print("median_ms", latency:percentile(50) / 1e3)
   print("p99_ms", latency:percentile(99) / 1e3)
   print("broken", errors.connect + errors.read + errors.write)  -- a late answer is none
   for _, thread in ipairs(threads) do
      print("failed", (thread:get("failed"):gsub("%s+", " ")))
      print("jobs", table.concat(thread:get("jobs"), " "))
   end
end
