-- Goes on from `admit.lua` for a gRPC call whose first message has been read: names its endpoint, then lets it in.

-- The first message of a gRPC call says which model and version it means; the routes read headers.
local function name_call(handle, headers)
  local metadata = handle:streamInfo():dynamicMetadata()
  local fields = metadata:get("envoy.filters.http.grpc_field_extraction")
  if fields == nil then
    return
  end
  local name = fields["name"]
  local version = fields["version"]
  if name ~= nil and name[1] ~= nil and name[1] ~= "" then
    headers:replace("argosy-endpoint", name[1])
    if version ~= nil and version[1] ~= nil and version[1] ~= "" then
      headers:replace("argosy-version", version[1])
    end
    handle:clearRouteCache()
  end
  local cut = metadata:get("argosy")
  if cut ~= nil then
    headers:remove("content-length")
  end
  return cut
end

-- The length that `first.lua` wrote over, put back. Its own `content-length` is no client's.
local function whole_again(handle, size)
  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    if length >= 5 then
      chunk:setBytes(header_of(size) .. chunk:getBytes(5, length - 5))
      return
    end
  end
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local cut = name_call(handle, headers)
  let_in(handle, headers)
  if cut ~= nil then
    whole_again(handle, cut["size"])
  end
end
