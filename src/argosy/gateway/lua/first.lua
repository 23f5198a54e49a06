-- Runs before the first message of a gRPC call is read for its model's name: only a known key gets so far, or anybody
-- where an endpoint needs none (OPEN, which stands before this text). Of a large message only the beginning is read.

local SMALL = 4096

local function length_of(head)
  local a, b, c, d = byte(head, 2, 5)
  return a * 16777216 + b * 65536 + c * 256 + d
end

-- Where the whole messages in `data` end.
local function whole(data)
  local at = 0
  while #data >= at + 5 do
    local after = at + 5 + length_of(sub(data, at + 1, at + 5))
    if after > #data then
      break
    end
    at = after
  end
  return at
end

-- Where fields 1 and 2 end, the name and the version: every writer puts fields in the order of their numbers.
local function names(data)
  local at = 6
  while byte(data, at) == 10 or byte(data, at) == 18 do
    local size, next, scale = 0, at, 1
    repeat
      next = next + 1
      local part = byte(data, next) or 0
      size, scale = size + part % 128 * scale, scale * 128
    until part < 128 or next > at + 5
    if next + size > #data then
      break
    end
    at = next + size + 1
  end
  return at - 1
end

-- How much of `data` is the first message, or enough of it; 0: more must come.
local function enough(data)
  if #data < 5 then
    return 0
  end
  local size = length_of(data)
  if #data >= size + 5 or byte(data) ~= 0 then
    return byte(data) == 0 and whole(data) or #data
  end
  return #data >= SMALL and names(data) or 0
end

-- Gives on the first message, or a short one of its first fields, and what is no whole message only with what follows.
local function read_first(handle)
  local held, given = "", false
  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    if held == "" and length >= 5 and length == length_of(chunk:getBytes(0, 5)) + 5 then
      return
    end
    local fresh = chunk:getBytes(0, length)
    local data = held .. fresh
    if given then
      chunk:setBytes(data)
      return
    end
    local size = enough(data)
    local message = sub(data, 1, size)
    held = sub(data, size + 1)
    if size > 0 and size < length_of(data) + 5 then
      handle:streamInfo():dynamicMetadata():set("argosy", "size", length_of(data))
      message = header_of(size - 5) .. sub(message, 6)
    end
    given = size > 0
    if message ~= fresh then
      chunk:setBytes(message)
    end
    if given and held == "" then
      return
    end
  end
end

function envoy_on_request(handle)
  local headers = handle:headers()
  if not OPEN then
    local owner, why = owner_in(headers)
    if owner == nil then
      return refuse(handle, headers, "401", "16", why)
    end
  end
  read_first(handle)
end
