-- What the scripts of all filters say no with, and the cookie of callers who stay with a revision.

local byte, char, rep, sub, format = string.byte, string.char, string.rep, string.sub, string.format

local function quoted(text)
  return '"' .. text:gsub('[%c"\\]', function(c) return format("\\u%04x", byte(c)) end) .. '"'
end

-- The `code` and `type` of OpenAI's errors by status, where nothing nearer is known.
local OPENAI = {
  ["400"] = { "invalid_request", "invalid_request_error" },
  ["401"] = { "invalid_api_key", "invalid_request_error" },
  ["403"] = { "permission_denied", "invalid_request_error" },
  ["404"] = { "model_not_found", "invalid_request_error" },
  ["413"] = { "request_too_large", "invalid_request_error" },
  ["429"] = { "rate_limit_exceeded", "tokens" },
}

local function as_openai(status, message, code)
  local known = OPENAI[status] or { "service_unavailable", "server_error" }
  return '{"message":' .. quoted(message) .. ',"type":"' .. known[2] .. '","param":null,"code":"' .. (code or known[1]) .. '"}'
end

-- `code`, of OpenAI's, and `more` headers are for requests to language models.
local function refuse(handle, headers, status, grpc_status, message, code, more)
  local kind = headers:get("content-type")
  if kind == "application/grpc" or kind ~= nil and sub(kind, 1, 17) == "application/grpc+" then
    handle:respond({ [":status"] = "200", ["content-type"] = "application/grpc", ["grpc-status"] = grpc_status }, message)
    return
  end
  local answer = { [":status"] = status, ["content-type"] = "application/json" }
  if status == "401" then
    local page = headers:get(":path"):match("^/endpoints/[^/?]+/docs") ~= nil
    answer["www-authenticate"] = page and 'Basic realm="argosy"' or 'Bearer realm="argosy"'
  end
  local path = headers:get(":path") or ""
  local below = path:match("^/endpoints/[^/?]+/v1/(%a+)") or "models" -- which are KServe's there
  local openai = sub(path, 1, 4) == "/v1/" or below ~= "models"
  local body = '{"error":' .. (openai and as_openai(status, message, code) or quoted(message)) .. "}"
  if headers:get("x-argosy-key-id") == nil and handle:streamInfo():protocol() == "HTTP/2" then
    -- Who takes no body of a stream makes it stay: replies.py says the same of what is not said here.
    answer["content-type"], answer["argosy-error"], body = nil, (message:gsub("%c", " ")), ""
  end
  for name, value in pairs(more or {}) do
    answer[name] = value
  end
  handle:respond(answer, body)
end

-- A caller without the cookie gets one: the request's id, which is random unless the caller has chosen it.
local function give_cookie(handle, headers, name, attributes)
  local sent = headers:get("cookie")
  if sent ~= nil and ("; " .. sent):find("[; ]" .. name:gsub("%-", "%%-") .. "=[^;]") then
    return
  end
  local cookie = name .. "=" .. sub((headers:get("x-request-id") or "-"):gsub("[^%w-]", "-"), 1, 64)
  headers:replace("cookie", sent ~= nil and sent .. "; " .. cookie or cookie)
  handle:streamInfo():dynamicMetadata():set("argosy", "cookie", cookie .. attributes)
  handle:clearRouteCache()
end

