-- Apache httpd's side of keyward: asks for each request before anything else looks at it.
-- apache.conf says where it is called. An error in here is answered with 500.

local socket = require("socket")

-- Replace by keyward's address.
local HOST, PORT = "127.0.0.1", 8180
-- How long keyward may take to take the connection, and then to answer, in seconds.
local CONNECT_MAX_S, ANSWER_MAX_S = 1, 2
-- How long the head of an answer may be, in bytes.
local HEAD_MAX_BYTES = 16384
-- With `caller_secret` in keyward's configuration: the secret.
local CALLER = nil

-- Headers of the request that keyward is sent: the credential, and what policies may ask for.
local SENT = { "Authorization", "X-API-Key", "User-Agent", "X-Request-Id" }
-- Headers of an allow that the upstream is sent. They have to be complete.
local IDENTITY = {
  "X-Keyward-Key-Id", "X-Keyward-Subject", "X-Keyward-Scopes", "X-Keyward-Decision",
  "X-Keyward-Warning",
}
-- Headers of a denial that the client is sent.
local ANSWERED = { "Cache-Control", "WWW-Authenticate", "Retry-After", "RateLimit",
    "RateLimit-Policy", "X-Keyward-Decision" }

local function question(r)
  local lines = {
    "GET /check/forward HTTP/1.1",
    "Host: " .. HOST,
    "Connection: close",
    "X-Forwarded-Method: " .. r.method,
    "X-Forwarded-Proto: " .. (r.is_https and "https" or "http"),
    "X-Forwarded-Host: " .. (r.headers_in["Host"] or ""),
    "X-Forwarded-Uri: " .. r.unparsed_uri,
    -- Behind another proxy: use mod_remoteip, which sets this address.
    "X-Forwarded-For: " .. r.useragent_ip,
  }
  for _, name in ipairs(SENT) do
    -- Apache joins several lines by commas: two credentials are for keyward to refuse.
    local value = r.headers_in[name]
    if value then lines[#lines + 1] = name .. ": " .. value end
  end
  if CALLER then lines[#lines + 1] = "X-Keyward-Caller: " .. CALLER end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

-- The status and the headers, by their names in lower case, of an answer; or nothing. Denials have
-- Apache's own body.
local function read(connection, deadline)
  local function line_of_head()
    connection:settimeout(math.max(deadline - socket.gettime(), 0), "t")
    return connection:receive("*l")
  end
  local status = (line_of_head() or ""):match("^HTTP/1%.[01] (%d%d%d)")
  local headers, length = {}, 0
  while status do
    local line = line_of_head()
    if not line then return nil end
    if line == "" then break end
    length = length + #line
    if length > HEAD_MAX_BYTES then return nil end
    local name, value = line:match("^([^:%s]+):%s*(.-)%s*$")
    if not name or headers[name:lower()] then return nil end
    headers[name:lower()] = value
  end
  return tonumber(status), headers
end

local function ask(r)
  local connection = socket.tcp()
  connection:settimeout(CONNECT_MAX_S, "t")
  local status, headers
  if connection:connect(HOST, PORT) then
    connection:settimeout(ANSWER_MAX_S, "t")
    if connection:send(question(r)) then
      status, headers = read(connection, socket.gettime() + ANSWER_MAX_S)
    end
  end
  connection:close()
  return status, headers
end

-- Whatever its caller says about who calls is taken away, in every spelling.
local function strip(r)
  local names = {}
  for name in pairs(r:headers_in_table()) do
    if name:lower():match("^x[^a-z0-9]keyward[^a-z0-9]") then names[#names + 1] = name end
  end
  for _, name in ipairs(names) do r.headers_in[name] = nil end
end

function check(r)
  strip(r)
  -- keyward decides on the path without `.` and `..`, and Apache passes on what was sent.
  local path = r.unparsed_uri:match("^[^?#]*") .. "/"
  if path:find("/./", 1, true) or path:find("/../", 1, true) then return 400 end

  -- Apache takes away what `Connection` names, also the headers that say who calls.
  if (r.headers_in["Connection"] or ""):lower():find("keyward", 1, true) then return 400 end

  local status, headers = ask(r)
  if status == 200 then
    for _, name in ipairs(IDENTITY) do
      if not headers[name:lower()] then return 503 end
      r.headers_in[name] = headers[name:lower()]
    end
    return apache2.OK
  end
  if status ~= 401 and status ~= 403 and status ~= 429 then return 503 end
  for _, name in ipairs(ANSWERED) do
    if headers[name:lower()] then r.err_headers_out[name] = headers[name:lower()] end
  end
  return status
end
