-- Lets a request through only with a key whose scopes cover its endpoint.
-- The route's metadata says which endpoint it is ("endpoint") and whether a key is needed ("auth"); `special` has the rest.

local function admit(handle, headers, endpoint)
  local owner, why = owner_in(headers)
  if owner == nil then
    return refuse(handle, headers, "401", "16", why)
  end
  headers:replace("x-argosy-key-id", owner.id)
  if endpoint ~= nil and not owner.all and not owner.scopes[endpoint] then
    local what = endpoint == "*" and "all endpoints, which this would tell of" or "endpoint '" .. endpoint .. "'"
    return refuse(handle, headers, "403", "7", "key '" .. owner.id .. "' does not cover " .. what)
  end
  if owner.rate ~= nil then
    headers:replace("x-argosy-rate", owner.rate)
  end
  return owner
end

-- Routes that pick a revision for a tester ("test"), or the same one for a caller again ("sticky", "cookie").
local function special(handle, headers, route)
  local endpoint = route:get("endpoint")
  if route:get("key") then
    local owner = admit(handle, headers, endpoint)
    if owner == nil then
      return
    end
    if route:get("test") and not owner.tests["*"] and not owner.tests[endpoint] then
      local message = "key '" .. owner.id .. "' may not pick a revision of endpoint '" .. endpoint
        .. "': give it the scope '" .. endpoint .. ":test', or leave x-argosy-revision out"
      return refuse(handle, headers, "403", "7", message)
    end
  end
  if route:get("sticky") == "key" then
    handle:clearRouteCache()
  elseif route:get("sticky") == "cookie" then
    give_cookie(handle, headers, route:get("cookie"), route:get("attributes"))
  end
end

-- A request to a language model, which `language.lua` lets in once it has read which one: whose key, and what it covers.
-- Without a key it goes on where an endpoint needs none ("open").
local function identify(handle, headers, route)
  local owner, why = owner_in(headers)
  if owner == nil then
    if not route:get("open") then
      refuse(handle, headers, "401", "16", why)
    end
    return
  end
  headers:replace("x-argosy-key-id", owner.id)
  local metadata = handle:streamInfo():dynamicMetadata()
  metadata:set("argosy", "scopes", owner.text)
  if owner.limits ~= nil then
    metadata:set("argosy", "limits", owner.limits)
  end
end

-- A name that is no endpoint's is answered as one that the key does not cover, so that nobody learns which there are.
local function missing(handle, headers)
  local path = headers:get(":path")
  local name = path:match("^/v2/models/([%w._-]+)") or path:match("^/endpoints/([%w._-]+)")
    or headers:get("argosy-endpoint")
  admit(handle, headers, name ~= nil and name:match("^[%w._-]+$") or "-")
end

local function let_in(handle, headers)
  local route = handle:metadata()
  local auth = route:get("auth")
  if auth == true then
    admit(handle, headers, route:get("endpoint"))
  elseif auth == "language" then
    identify(handle, headers, route)
  elseif auth == "missing" then
    missing(handle, headers)
  elseif auth then
    special(handle, headers, route)
  end
end

function envoy_on_request(handle)
  let_in(handle, handle:headers())
end
