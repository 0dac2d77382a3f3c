-- SPDX-License-Identifier: Apache-2.0
--
-- wrk: requests of many methods, answered with many status codes. (No HEAD of a page with a length: wrk would wait for it.) Full speed for the first three seconds; then each connection
-- has its last answer and stays idle, so that nothing is under way when wrk leaves.

local SECONDS = 3

local wanted = {
  { "GET", "/page" },
  { "GET", "/code/200" },
  { "GET", "/code/204" },
  { "GET", "/code/301" },
  { "GET", "/code/304" },
  { "GET", "/page", { ["If-Modified-Since"] = "Fri, 01 Jan 2100 00:00:00 GMT", ["If-None-Match"] = "*" } },
  { "GET", "/missing" },
  { "GET", "/code/500" },
  { "GET", "/code/503" },
  { "HEAD", "/code/200" },
  { "HEAD", "/code/304" },
  { "POST", "/code/201", {}, string.rep("GET / HTTP/1.1\r\n\r\n", 20) },
  { "POST", "/code/400", {}, "short" },
  { "PUT", "/code/204", {}, string.rep("x", 3000) },
  { "DELETE", "/code/202" },
  { "OPTIONS", "/code/200" },
  { "PATCH", "/code/422", {}, "patch" },
  { "PROPFIND", "/code/207" },
  { "BREW", "/code/418" },
}

local requests = {}
local turn = 0
local stop

function init()
  for index, what in ipairs(wanted) do
    requests[index] = wrk.format(what[1], what[2], what[3], what[4])
  end
  stop = os.time() + SECONDS
end

function delay()
  return os.time() < stop and 0 or 600000
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end
