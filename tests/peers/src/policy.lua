-- What the three policies of keyward deny, as Lua. `decide` returns the place of its reason in the
-- list that the host and this file share. Addresses come as one number (IPv4) or four (IPv6) of 32
-- bits, networks as such an address and a prefix length; both kinds are told apart by `family`.

local bit = require("bit")
local band, tobit, lshift = bit.band, bit.tobit, bit.lshift

assert(jit.status(), "the just-in-time compiler is off")

local LIFETIME_MAX_MS = 90 * 24 * 3600 * 1000
local READ_ONLY_ACTIONS = { read = true, list = true }

local keys, scopes, blocked = {}, {}, nil

local ALLOW = 0
local UNKNOWN, REVOKED, SUSPENDED, UNMAPPED, READ_ONLY, MISSING = 1, 2, 3, 4, 5, 6
local NOT_YET_VALID, NO_EXPIRY, LIFETIME_EXCEEDED, EXPIRED, GRACE_ENDED = 7, 8, 9, 10, 11
local BLOCKED, SOURCE_UNKNOWN, NOT_ALLOWED = 12, 13, 14

-- The bits of the 32-bit word `index`, from 0, that a prefix of this length covers.
local function mask(length, index)
  local bits = math.min(math.max(length - 32 * index, 0), 32)
  if bits == 0 then
    return 0
  end
  return lshift(-1, 32 - bits)
end

-- By family: for each network its words and the masks of its words, one after the other.
local function compile(networks)
  local compiled = { [4] = {}, [6] = {} }
  for _, network in ipairs(networks) do
    local list = compiled[network.family]
    for index, word in ipairs(network.words) do
      list[#list + 1] = tobit(word)
      list[#list + 1] = mask(network.length, index - 1)
    end
  end
  return compiled
end

local function contained(networks, family, a, b, c, d)
  local list = networks[family]
  if family == 4 then
    for i = 1, #list, 2 do
      if band(a, list[i + 1]) == list[i] then
        return true
      end
    end
    return false
  end
  for i = 1, #list, 8 do
    if band(a, list[i + 1]) == list[i]
      and band(b, list[i + 3]) == list[i + 2]
      and band(c, list[i + 5]) == list[i + 4]
      and band(d, list[i + 7]) == list[i + 6] then
      return true
    end
  end
  return false
end

function add_key(id, key)
  key.networks = key.networks and compile(key.networks)
  keys[id] = key
end

function add_scope(scope, action, covering)
  local set = {}
  for _, grant in ipairs(covering) do
    set[grant] = true
  end
  scopes[scope] = { reads = READ_ONLY_ACTIONS[action], covering = set }
end

function set_blocked(networks)
  blocked = compile(networks)
end

local function granted(key, covering)
  local grants = key.scopes
  for i = 1, #grants do
    if covering[grants[i]] then
      return true
    end
  end
  return false
end

local function rotation(key, now)
  local expires_at = key.expires_at
  if key.not_before and now < key.not_before then
    return NOT_YET_VALID
  elseif not expires_at then
    return NO_EXPIRY
  elseif expires_at - key.issued_at > LIFETIME_MAX_MS then
    return LIFETIME_EXCEEDED
  elseif now >= expires_at then
    return EXPIRED
  elseif key.lifecycle == "deprecated" and key.grace_until and now >= key.grace_until then
    return GRACE_ENDED
  end
end

function decide(id, now, required, family, a, b, c, d)
  local key = keys[id]
  if not key then
    return UNKNOWN
  elseif key.lifecycle == "revoked" then
    return REVOKED
  elseif key.lifecycle == "suspended" then
    return SUSPENDED
  elseif not required then
    return UNMAPPED
  end
  local scope = scopes[required]
  if key.read_only and not scope.reads then
    return READ_ONLY
  elseif not granted(key, scope.covering) then
    return MISSING
  end
  local overdue = rotation(key, now)
  if overdue then
    return overdue
  elseif family ~= 0 and contained(blocked, family, a, b, c, d) then
    return BLOCKED
  elseif not key.networks then
    return ALLOW
  elseif family == 0 then
    return SOURCE_UNKNOWN
  elseif not contained(key.networks, family, a, b, c, d) then
    return NOT_ALLOWED
  end
  return ALLOW
end
