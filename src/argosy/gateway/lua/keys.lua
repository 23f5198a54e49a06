-- Whose key came with a request, and what is said where it is nobody's. `first.lua` and `admit.lua` go on from here.
-- `refuse.lua` stands before this text, and before it KEYS (see keys.py): a line for each key, of its SHA-256, id, scopes,
-- rate of messages, and what is done where its tokens are limited and cannot be counted; and PEERS, regions by their secrets.

local band, bnot, bxor = bit.band, bit.bnot, bit.bxor
local ror, rshift, tobit = bit.ror, bit.rshift, bit.tobit

local MAX_KEY = 512
local CACHED = {}

local OWNERS = {}
for hash, id, scopes, rate, limits in KEYS:gmatch("(%x+) (%S+) (%S+) (%S+) (%S+)\n") do
  local owner = { id = id, all = false, text = scopes, scopes = {}, tests = {}, rate = rate ~= "-" and rate or nil,
    limits = limits ~= "-" and limits or nil }
  for scope in scopes:gmatch("[^,]+") do
    local tested = scope:match("^(.*):test$")
    owner.scopes[tested or scope] = true
    if tested ~= nil then owner.tests[tested] = true end
  end
  owner.all = owner.scopes["*"] == true
  OWNERS[hash] = owner
end

-- FIPS 180-4: the first 32 bits of the fractional parts of the cube and square roots of the first primes.
local K, H0 = {}, {}
do
  local function fraction(x)
    return tobit(math.floor((x - math.floor(x)) * 4294967296))
  end
  local found, n = 0, 2
  while found < 64 do
    local prime = true
    for d = 2, math.sqrt(n) do
      if n % d == 0 then prime = false break end
    end
    if prime then
      found = found + 1
      K[found] = fraction(n ^ (1 / 3))
      if found <= 8 then H0[found] = fraction(n ^ 0.5) end
    end
    n = n + 1
  end
end

local W = {}

local function compress(state, block, at)
  for i = 1, 16 do
    local a, b, c, d = byte(block, at, at + 3)
    W[i] = tobit(a * 16777216 + b * 65536 + c * 256 + d)
    at = at + 4
  end
  for i = 17, 64 do
    local x, y = W[i - 15], W[i - 2]
    local s0 = bxor(ror(x, 7), ror(x, 18), rshift(x, 3))
    local s1 = bxor(ror(y, 17), ror(y, 19), rshift(y, 10))
    W[i] = tobit(W[i - 16] + s0 + W[i - 7] + s1)
  end
  local a, b, c, d, e, f, g, h = unpack(state)
  for i = 1, 64 do
    local s1 = bxor(ror(e, 6), ror(e, 11), ror(e, 25))
    local t1 = h + s1 + bxor(band(e, f), band(bnot(e), g)) + K[i] + W[i]
    local s0 = bxor(ror(a, 2), ror(a, 13), ror(a, 22))
    local t2 = s0 + bxor(band(a, b), band(a, c), band(b, c))
    h, g, f, e, d, c, b, a = g, f, e, tobit(d + t1), c, b, a, tobit(t1 + t2)
  end
  local v = { a, b, c, d, e, f, g, h }
  for i = 1, 8 do
    state[i] = tobit(state[i] + v[i])
  end
end

local function sha256(message)
  local size = #message
  local bits = size * 8
  local tail = char(0, 0, 0, 0, rshift(bits, 24), band(rshift(bits, 16), 255), band(rshift(bits, 8), 255), band(bits, 255))
  local padded = message .. "\128" .. rep("\0", (55 - size) % 64) .. tail
  local state = { unpack(H0) }
  for at = 1, #padded, 64 do
    compress(state, padded, at)
  end
  local hex = {}
  for i = 1, 8 do
    hex[i] = bit.tohex(state[i])
  end
  return table.concat(hex)
end

-- Only what is known is kept: a caller who makes keys up fills nothing.
local function owner_of(key)
  local known = CACHED[key]
  if known == nil and #key <= MAX_KEY then
    known = OWNERS[sha256(key)]
    CACHED[key] = known
  end
  return known
end

local BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function unbase64(text)
  local out, bits, count = {}, 0, 0
  for letter in text:gmatch("[%w+/]") do
    bits, count = bits * 64 + BASE64:find(letter, 1, true) - 1, count + 6
    if count >= 8 then
      count = count - 8
      out[#out + 1] = char(math.floor(bits / 2 ^ count))
      bits = bits % 2 ^ count
    end
  end
  return table.concat(out)
end

-- A browser at the page of an endpoint sends the key as a password, whichever site makes it ask. So it only reads,
-- unless there is a header that no other site can set.
local function as_password(headers, authorization)
  local text = authorization:match("^[Bb][Aa][Ss][Ii][Cc] +(%S+) *$")
  local safe = headers:get(":method") == "GET" or headers:get("x-requested-with") ~= nil
  if text == nil or #text > 2 * MAX_KEY or not safe or sub(headers:get(":path"), 1, 11) ~= "/endpoints/" then
    return nil
  end
  return unbase64(text):match("^[^:]*:(.*)$")
end

local function presented(headers)
  local key = headers:get("x-api-key")
  if key ~= nil then
    return key
  end
  local authorization = headers:get("authorization")
  if authorization == nil then
    return nil
  end
  return authorization:match("^[Bb][Ee][Aa][Rr][Ee][Rr] +(%S+) *$") or as_password(headers, authorization)
end

-- The gateway of another region has checked the key, and counts its tokens.
local function of_peer(region, headers)
  return { id = headers:get("x-argosy-peer-key") or "peer." .. region, all = true, text = "*", scopes = {}, tests = {} }
end

local function owner_in(headers)
  local region = PEERS[headers:get("x-argosy-peer") or ""]
  if region ~= nil then
    return of_peer(region, headers)
  end
  local key = presented(headers)
  if key == nil then
    return nil, "no API key: send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
  end
  return owner_of(key), "this API key is unknown or revoked"
end

-- What stands before a gRPC message of `size` bytes.
local function header_of(size)
  return char(0, rshift(size, 24), band(rshift(size, 16), 255), band(rshift(size, 8), 255), band(size, 255))
end
