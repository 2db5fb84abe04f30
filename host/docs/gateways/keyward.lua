-- HAProxy's side of keyward: asks for each request, and answers the client unless it is an allow.
-- haproxy.cfg says where it is called.

-- Replace by keyward's address.
local CHECK = "http://127.0.0.1:8180/check/forward"
-- How long keyward may take, in milliseconds.
local TIME_MAX_MS = 2000
-- With `caller_secret` in keyward's configuration: the secret.
local CALLER = nil

-- Headers of the request that keyward is sent: the credential, and what policies may ask for.
local SENT = { "authorization", "x-api-key", "user-agent", "x-request-id" }
-- Headers of an allow that the upstream is sent. They have to be complete.
local IDENTITY = {
  "x-keyward-key-id", "x-keyward-subject", "x-keyward-scopes", "x-keyward-decision",
  "x-keyward-warning",
}
-- Headers of a denial that the client is sent.
local ANSWERED = {
  "content-type", "cache-control", "www-authenticate", "retry-after", "ratelimit",
  "ratelimit-policy", "x-keyward-decision",
}

local function ask(txn)
  local given = txn.http:req_get_headers()
  local headers = {
    ["x-forwarded-method"] = { txn.sf:method() },
    ["x-forwarded-proto"] = { txn.sf:ssl_fc() == "1" and "https" or "http" },
    ["x-forwarded-host"] = { txn.sf:req_hdr("host") },
    ["x-forwarded-uri"] = { txn.sf:pathq() },
    -- Behind another proxy: what it forwards for, then src, and its address in `trusted_proxies`.
    ["x-forwarded-for"] = { txn.sf:src() },
  }
  for _, name in ipairs(SENT) do
    -- All lines of it: two credentials are for keyward to refuse.
    local lines = {}
    for index = 0, #(given[name] or {}) do
      lines[#lines + 1] = (given[name] or {})[index]
    end
    if #lines > 0 then headers[name] = lines end
  end
  if CALLER then headers["x-keyward-caller"] = { CALLER } end
  return core.httpclient():get({ url = CHECK, headers = headers, timeout = TIME_MAX_MS })
end

local function deny(txn, answer)
  local reply = txn:reply({ status = answer.status })
  for _, name in ipairs(ANSWERED) do
    for index = 0, #(answer.headers[name] or {}) do
      local value = (answer.headers[name] or {})[index]
      if value then reply:add_header(name, value) end
    end
  end
  reply:set_body(answer.body or "")
  txn:done(reply)
end

core.register_action("keyward", { "http-req" }, function(txn)
  local answer = ask(txn)
  local status = answer and answer.status or 0
  if status == 401 or status == 403 or status == 429 then
    return deny(txn, answer)
  end
  if status ~= 200 then return end
  for _, name in ipairs(IDENTITY) do
    local lines = answer.headers[name]
    if not lines or not lines[0] or lines[1] then return end
    txn.http:req_set_header(name, lines[0])
  end
  txn:set_var("txn.keyward_allowed", true)
end)
