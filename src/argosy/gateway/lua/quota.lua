-- Tokens of keys that have limits: reserved from leases, which this VM of a worker thread holds, and asks for at QUOTA,
-- the cluster of the process that gives them, which stands before this text ("" where there is none).

local QUOTA_MS = 2000
-- A lease is for what WORTH such requests take: twice as many where the last one was half used up within a second, half
-- as many where it never was.
local LEAST_WORTH, MOST_WORTH = 8, 1024
local LEASES, REFUSALS, BACK, WORTH = {}, {}, {}, {}
local TOLD = { "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens" }

-- For the headers of the answer, see keys.py.
local function tell(handle, headers)
  local metadata = handle:streamInfo():dynamicMetadata()
  for _, name in ipairs(TOLD) do
    if headers[name] ~= nil then metadata:set("argosy.quota", sub(name, 13), headers[name]) end
  end
end

local function answer(handle, refusal)
  tell(handle, refusal)
  handle:respond({ [":status"] = "429", ["content-type"] = "application/json",
    ["retry-after"] = refusal["retry-after"], ["x-should-retry"] = refusal["x-should-retry"] }, refusal.body)
  return false
end

local function unreachable(handle, owner)
  handle:streamInfo():dynamicMetadata():set("argosy.quota", "state", "unreachable; " .. owner.limits)
  if owner.limits == "open" then
    return true, ""
  end
  local message = "the ledger of tokens cannot be reached, and this key may use none without it; try again shortly"
  local headers = { [":status"] = "503", ["content-type"] = "application/json", ["retry-after"] = "1" }
  handle:respond(headers, '{"error":{"message":' .. quoted(message)
    .. ',"type":"server_error","param":null,"code":"quota_unreachable"}}')
  return false
end

-- What is left of a lease goes back with the next question.
local function give_back(lease)
  if lease ~= nil and lease.left > 0 then
    BACK[lease.id] = lease.left
  end
end

local function ask(handle, owner, endpoint, tokens, worth)
  local body = owner.id .. " " .. endpoint .. " " .. format("%d %d", tokens, worth)
  for id, left in pairs(BACK) do
    body = body .. "\n" .. id .. " " .. format("%d", left)
    BACK[id] = nil
    if #body > 4096 then break end
  end
  local request = { [":method"] = "POST", [":path"] = "/", [":authority"] = "quota" }
  return handle:httpCall(QUOTA, request, body, QUOTA_MS)
end

-- Takes tokens from a lease; whether it has them.
local function take(handle, lease, tokens)
  if lease == nil or lease.left < tokens then return false end
  lease.left = lease.left - tokens
  tell(handle, lease.told)
  return true
end

-- Reserves tokens of the key for a request: true and the id of the lease, "" without one; or false, after the request
-- has been answered. It may wait for an answer itself: `handle:headers()` of before is not good after it. Where leases
-- are used up soon, one request asks for the next when half of this one is left, and the others go on with this.
local function reserve(handle, headers, owner, endpoint, tokens)
  if owner == nil or owner.limits == nil then
    return true, ""
  end
  local now, name = os.time(), owner.id .. " " .. endpoint
  local lease = LEASES[name]
  if lease ~= nil and lease.till <= now then
    give_back(lease)
    if not lease.asked then WORTH[name] = math.max((WORTH[name] or 0) / 2, LEAST_WORTH) end
    LEASES[name], lease = nil, nil
  end
  if lease ~= nil and (lease.asked or lease.left > lease.half) and take(handle, lease, tokens) then
    return true, lease.id
  end
  local refusal = REFUSALS[name]
  if refusal ~= nil and refusal.till > now and tokens >= refusal.tokens then
    if take(handle, lease, tokens) then return true, lease.id end
    return answer(handle, refusal)
  end
  REFUSALS[name] = nil
  if QUOTA == "" then
    return unreachable(handle, owner)
  end
  if lease ~= nil and not lease.asked then
    lease.asked = true
    if now - lease.began <= 1 then WORTH[name] = math.min(2 * (WORTH[name] or LEAST_WORTH), MOST_WORTH) end
  end
  local found, body = ask(handle, owner, endpoint, tokens, WORTH[name] or LEAST_WORTH)
  if found == nil or found["x-lease"] == nil then
    if take(handle, lease, tokens) then return true, lease.id end
    if found == nil or found[":status"] ~= "429" then return unreachable(handle, owner) end
    found.body, found.till, found.tokens = body or "", now + 1, tokens
    REFUSALS[name] = found
    return answer(handle, found)
  end
  tell(handle, found)
  local given = { id = found["x-lease"], left = tonumber(found["x-granted"]) - tokens, till = tonumber(found["x-until"]),
    began = now, told = found }
  given.half = (WORTH[name] or LEAST_WORTH) > LEAST_WORTH and given.left / 2 or 0
  -- Another request may have asked meanwhile: the larger rest is held.
  local other = LEASES[name]
  if other ~= nil and other.left >= given.left then
    give_back(given)
  else
    give_back(other)
    LEASES[name] = given
  end
  return true, given.id
end
