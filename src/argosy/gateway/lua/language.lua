-- Requests to language models: which endpoint the body names, what it may cost, how it begins; and what the answer used.
-- `refuse.lua` and `quota.lua` stand before this text. What is counted is metadata of this namespace, in the access log.

local COUNTS = "argosy.language"
local find, match, gsub = string.find, string.match, string.gsub

-- Structural characters that one body may have: reading them takes a worker's time.
local MOST_STEPS = 500000
-- How much of a conversation's beginning, and of a plain prompt's, decides who gets it.
local BEGINNING, PROMPT_BEGINNING = 4096, 256
-- Of an answer that is no stream: where the usage is, at one end or the other.
local HEAD, TAIL = 1024, 4096
-- Larger answers are not held back until what they used is known.
local MOST_EXPLAINED = 65536
-- Bytes of an event that is not yet complete which are held back.
local MOST_HELD = 1048576
-- How much of an answer's beginning is compared with how refusals begin: no declared one is longer.
local MOST_SAID = 400
-- What is recorded of a request, where it is: metadata of this namespace, which access_log.py sends to the recorder.
-- Texts stay as JSON has them; those of an answer are there as blocks of so many bytes.
local RECORD, BLOCK = "argosy.payload", 1024
local KEPT = {
  ["/v1/chat/completions"] = { "content" }, ["/v1/completions"] = { "text" },
  ["/v1/responses"] = { "delta" },
}
math.randomseed(os.time() + tonumber(match(tostring({}), "0x(%x+)"), 16) % 2147483648)
-- What a request without a limit of its own is taken to generate.
local DEFAULT_TOKENS = 1024
local BYTES_PER_TOKEN, MOST_ANSWERS = 4, 1000

local WANTED = {
  model = true, stream = true, stream_options = true, timings_per_token = true, messages = true, prompt = true,
  input = true, n = true, max_tokens = true, max_completion_tokens = true, max_output_tokens = true, lora = true,
}

-- Where the string ends whose first character is at `at`: one past its closing quote.
local function after_string(text, at)
  while true do
    local quote = find(text, '"', at, true)
    if quote == nil then
      return nil
    end
    local slash = quote - 1
    while byte(text, slash) == 92 do
      slash = slash - 1
    end
    if (quote - slash) % 2 == 1 then
      return quote + 1
    end
    at = quote + 1
  end
end

-- Where the value at `at` ends, and how many steps are left.
local function after_value(text, at, steps)
  local first = byte(text, at)
  if first == 34 then
    return after_string(text, at + 1), steps
  elseif first ~= 123 and first ~= 91 then
    local stop = find(text, "[,}%s]", at)
    return stop ~= at and stop or nil, steps
  end
  local depth, next = 1, at + 1
  while depth > 0 do
    local mark = find(text, '[%[%]{}"]', next)
    steps = steps - 1
    if mark == nil or steps < 0 then
      return nil, steps
    end
    local kind = byte(text, mark)
    next = mark + 1
    if kind == 34 then
      next = after_string(text, next)
      if next == nil then
        return nil, steps
      end
    else
      depth = depth + ((kind == 123 or kind == 91) and 1 or -1)
    end
  end
  return next, steps
end

-- The top level of a JSON object: for keys that are wanted where the value begins and ends, and where the object does.
-- nil: it is no object, or one with too many parts (second value true). What is in the values the engine checks.
local function scan(text)
  local at, steps = match(text, "^%s*{%s*()"), MOST_STEPS
  if at == nil then
    return nil
  end
  local found = { empty = byte(text, at) == 125, close = at }
  while not found.empty do
    local stop = byte(text, at) == 34 and after_string(text, at + 1)
    local value = stop and match(text, "^%s*:%s*()", stop)
    if not value then
      return nil
    end
    local last
    last, steps = after_value(text, value, steps)
    if last == nil then
      return nil, steps < 0
    end
    local key = gsub(sub(text, at + 1, stop - 2), "\\u00(%x%x)", function(code) return char(tonumber(code, 16)) end)
    if WANTED[key] then
      found[key] = { value, last - 1 }
    end
    local close, mark, next = match(text, "^%s*()([,}])%s*()", last)
    if mark == "}" then
      found.close, at = close, next
      break
    elseif mark == nil then
      return nil
    end
    at, steps = next, steps - 1
  end
  return match(text, found.empty and "^}%s*$" or "^%s*$", at) ~= nil and found or nil
end

local function raw(text, found, key)
  local place = found[key]
  return place and sub(text, place[1], place[2])
end

local function number(text, found, key)
  local value = tonumber(raw(text, found, key))
  return value ~= nil and value >= 0 and value < 1e9 and value or nil
end

-- Two numbers of 32 bits, mixed from eight bytes at a time.
local function hash(text)
  local a, b = 17, #text
  for at = 1, #text, 8 do
    local c, d, e, f, g, h, i, j = byte(text, at, at + 7)
    a = bit.tobit(a * 31 + c + (d or 0) * 256 + (e or 0) * 65536 + (f or 0) * 16777216)
    b = bit.tobit(b * 37 + (g or 0) + (h or 0) * 256 + (i or 0) * 65536 + (j or 0) * 16777216 + a % 8191)
  end
  return bit.tohex(a) .. bit.tohex(b)
end

-- How a conversation begins: all up to its first question, which every later turn begins with as well; of a long system
-- prompt only the first part, which other conversations have in common with it. Of a plain prompt the first bytes.
local function beginning(text, found)
  local place = found.messages or found.input
  if place == nil or byte(text, place[1]) ~= 91 then
    place = place or found.prompt
    return place and sub(text, place[1], math.min(place[2], place[1] + PROMPT_BEGINNING))
  end
  local at, last = place[1] + 1, place[1] + BEGINNING
  repeat
    local from = match(text, "^[%s,]*()", at)
    local stop = byte(text, from) == 123 and after_value(text, from, MOST_STEPS)
    if not stop then
      break
    end
    at = stop
    if find(sub(text, from, math.min(stop - 1, last)), '"role"%s*:%s*"user"') then
      break
    end
  until at > last
  return sub(text, place[1], math.min(at - 1, last))
end

-- The text with these parts, {from, to, instead}, in their order, put in.
local function edited(text, edits)
  table.sort(edits, function(one, other) return one[1] < other[1] end)
  local parts, at = {}, 1
  for _, edit in ipairs(edits) do
    parts[#parts + 1] = sub(text, at, edit[1] - 1)
    parts[#parts + 1] = edit[3]
    at = edit[2] + 1
  end
  parts[#parts + 1] = sub(text, at)
  return table.concat(parts)
end

local ASKED = '"include_usage":true,"continuous_usage_stats":true'

-- What makes an engine say at each event of a stream how many tokens there were: llama.cpp's way and vLLM's. The second
-- value is what the client asked for itself, which its answer keeps.
local function with_counts(text, found, path, edits)
  local asked, more = { timings = raw(text, found, "timings_per_token") == "true" }, {}
  if not asked.timings then
    if found.timings_per_token then
      edits[#edits + 1] = { found.timings_per_token[1], found.timings_per_token[2], "true" }
    else
      more[1] = '"timings_per_token":true'
    end
  end
  if path == "/v1/responses" then
    asked.usage, asked.each = true, true
  else
    local options = raw(text, found, "stream_options")
    if options ~= nil and byte(options) == 123 then
      asked.usage = find(options, '"include_usage"%s*:%s*true') ~= nil
      asked.each = find(options, '"continuous_usage_stats"%s*:%s*true') ~= nil
      local rest = gsub(sub(options, 2, -2), '"[%a]+_usage[%a_]*"%s*:%s*%a+%s*,?', "")
      rest = match(rest, "^%s*(.-)[%s,]*$")
      local all = "{" .. ASKED .. (rest ~= "" and "," .. rest or "") .. "}"
      edits[#edits + 1] = { found.stream_options[1], found.stream_options[2], all }
    elseif options ~= nil then
      edits[#edits + 1] = { found.stream_options[1], found.stream_options[2], "{" .. ASKED .. "}" }
    else
      more[#more + 1] = '"stream_options":{' .. ASKED .. "}"
    end
  end
  if #more > 0 then
    edits[#edits + 1] = { found.close, found.close - 1, (found.empty and "" or ",") .. table.concat(more, ",") }
  end
  return asked
end

local function covers(owner, endpoint, test)
  local scopes = "," .. owner.text .. ","
  local function has(scope)
    return find(scopes, "," .. scope .. ",", 1, true) ~= nil
  end
  return has("*:test") or has(endpoint .. ":test") or not test and (has("*") or has(endpoint))
end

local function owner_of_request(handle, headers)
  local id = headers:get("x-argosy-key-id")
  if id == nil then
    return nil
  end
  local known = handle:streamInfo():dynamicMetadata():get("argosy") or {}
  return { id = id, text = known["scopes"] or "", limits = known["limits"] }
end

local NO_KEY = "no API key: send 'Authorization: Bearer KEY'"

-- GET /v1/models and /v1/models/NAME: OpenAI's fields and KServe's in one object, of what the key covers.
local function models(handle, headers, path, owner)
  local rows, names, some = {}, {}, false
  local one = match(path, "^/v1/models/([^/?]+)")
  one = one and gsub(one, "%%2[Bb]", "+")
  for _, each in ipairs(handle:metadata():get("models") or {}) do
    if not each.key or owner ~= nil and covers(owner, match(each.name, "^[^+]+")) then
      if one == each.name then
        return handle:respond({ [":status"] = "200", ["content-type"] = "application/json" }, each.text)
      end
      rows[#rows + 1], names[#names + 1] = each.text, quoted(each.name)
    end
  end
  if owner == nil and (one ~= nil or #rows == 0) then
    return refuse(handle, headers, "401", "16", NO_KEY)
  elseif one ~= nil then
    return refuse(handle, headers, "404", "5", "there is no model '" .. one .. "' here that this key covers")
  end
  local body = '{"object":"list","data":[' .. table.concat(rows, ",") .. '],"models":[' .. table.concat(names, ",") .. "]}"
  handle:respond({ [":status"] = "200", ["content-type"] = "application/json" }, body)
end

-- Whether the owner of the key may ask this endpoint, which the route that the body's model led to knows.
local function allowed(handle, headers, route, owner, endpoint)
  local private = route:get("auth") == true or route:get("key") or route:get("endpoint") == nil
  if owner == nil and private then
    return false, refuse(handle, headers, "401", "16", NO_KEY)
  elseif private and not covers(owner, endpoint) then
    local message = "key '" .. owner.id .. "' does not cover endpoint '" .. endpoint .. "'"
    return false, refuse(handle, headers, "403", "7", message)
  elseif route:get("endpoint") == nil then
    return false, refuse(handle, headers, "404", "5", "the model '" .. endpoint .. "' does not exist here")
  elseif route:get("test") and not (owner ~= nil and covers(owner, endpoint, true)) then
    local message = "only testers may pick a version of endpoint '" .. endpoint .. "': give the key the scope '"
      .. endpoint .. ":test', or leave the version out"
    return false, refuse(handle, headers, "403", "7", message)
  end
  if route:get("sticky") == "cookie" then
    give_cookie(handle, headers, route:get("cookie"), route:get("attributes"))
  end
  return true
end

local function invalid(handle, headers, many)
  local what = "the body is not a JSON object; send {\"model\": NAME, …} as application/json"
  what = many and "the body has more than " .. MOST_STEPS .. " parts" or what
  return refuse(handle, headers, many and "413" or "400", "3", what)
end

-- The adapter as the route knows it: by a name in the place of the model's, or by a number as well. llama.cpp is told
-- also that none takes part: else it goes on in a KV cache that was computed with one.
local function adapt(route, found, edits, adapter, name)
  local word, more = route:get("adapter"), {}
  if not found.model then -- the path named it, which no peer sees
    more[1] = '"model":' .. quoted(type(word) == "string" and word or name)
  end
  if type(word) == "number" then
    more[#more + 1] = format('"lora":[{"id":%d,"scale":%d}]', math.max(0, word), word < 0 and 0 or 1)
  end
  if #more > 0 then
    edits[#edits + 1] = { found.close, found.close - 1, (found.empty and "" or ",") .. table.concat(more, ",") }
    found.empty = false
  end
  if type(word) == "number" then
    return word >= 0 and adapter ~= "" and adapter or nil
  end
  return word
end

local function estimate(text, found, generates)
  local most = number(text, found, "max_completion_tokens") or number(text, found, "max_tokens")
    or number(text, found, "max_output_tokens")
  local answers = math.max(1, number(text, found, "n") or 1)
  local output = generates and (most or DEFAULT_TOKENS) * math.min(answers, MOST_ANSWERS) or 0
  return math.ceil(#text / BYTES_PER_TOKEN) + math.ceil(output), most
end

-- At most so many bytes of a text, and no part of a character.
local function head_of(text, most)
  if #text <= most then
    return text
  end
  while most > 0 and byte(text, most + 1) >= 128 and byte(text, most + 1) < 192 do
    most = most - 1
  end
  return sub(text, 1, most)
end

-- Keeps what a request asks, where its route says that a share of requests is recorded, and perhaps those that fail.
local function record(handle, wanted, text, found, path)
  local chosen = math.random() < wanted.share
  local kind = found.messages and "messages" or found.prompt and "prompt" or "input"
  local place = found[kind]
  if place == nil or KEPT[path] == nil or not (chosen or wanted.errors) then
    return
  end
  local kept = handle:streamInfo():dynamicMetadata()
  local prompt = head_of(sub(text, place[1], place[2]), wanted.bytes)
  for key, value in pairs({ send = chosen, chosen = chosen, kind = kind, prompt = prompt, path = path,
    cut = place[2] - place[1] >= #prompt, errors = wanted.errors, bytes = wanted.bytes,
    many = (number(text, found, "n") or 1) > 1 }) do
    kept:set(RECORD, key, value)
  end
end

-- From the body to the endpoint, its routes and what they ask for. true: it goes on.
local function route_request(handle, headers, path, named, owner)
  local buffer = handle:body(true)
  local text = buffer:getBytes(0, buffer:length())
  headers = handle:headers() -- what was got before a wait is of no use after it
  local found, many = scan(text)
  if found == nil then
    return invalid(handle, headers, many)
  end
  local model = raw(text, found, "model")
  model = model and match(model, '^"(.*)"$')
  if model == nil and named == nil then
    return refuse(handle, headers, "400", "3", "the body names no model: send {\"model\": NAME, …}", "missing_model")
  end
  local name, version, adapter = match(gsub(model or "", "\\/", "/"), "^([^:+]*):?([^+]*)%+?(.*)$")
  if named ~= nil and name ~= named then
    name, version, adapter = named, "", ""
  end
  if found.lora then
    local how = "the body has 'lora'; an adapter is chosen by the model's name, as in NAME+ADAPTER: leave it out"
    return refuse(handle, headers, "400", "3", how)
  end
  if not match(name, "^[%w._-]+$") then
    return refuse(handle, headers, "404", "5", "the model '" .. sub(name, 1, 80) .. "' does not exist here")
  end
  headers:replace("x-argosy-endpoint", name)
  if version ~= "" then
    headers:replace("x-argosy-version", version)
  end
  if adapter ~= "" then
    headers:replace("x-argosy-adapter", adapter)
  end
  local start = beginning(text, found)
  local prefix = start and hash(adapter .. start)
  headers:remove("argosy-prefix")
  if prefix then
    headers:replace("argosy-prefix", prefix)
  end
  headers:remove("accept-encoding")
  handle:clearRouteCache()
  if not allowed(handle, headers, handle:metadata(), owner, name) then
    return
  end
  local recorded = handle:metadata():get("payload")
  local edits, counts = {}, handle:streamInfo():dynamicMetadata()
  local wanted = adapt(handle:metadata(), found, edits, adapter, name) or name
  if found.model and wanted ~= model then
    edits[#edits + 1] = { found.model[1], found.model[2], quoted(wanted) }
  end
  local stream = raw(text, found, "stream") == "true"
  local generates = path == "/v1/chat/completions" or path == "/v1/completions" or path == "/v1/responses"
  if stream and generates then
    local asked = with_counts(text, found, path, edits)
    counts:set("argosy", "asked", asked)
  end
  if headers:get("x-argosy-explain") == "1" then
    counts:set("argosy", "explain", true)
  end
  local tokens, most = estimate(text, found, generates)
  counts:set(COUNTS, "stream", stream)
  -- For a client that leaves before its engine has said a number.
  counts:set(COUNTS, "prompt", math.ceil(#text / BYTES_PER_TOKEN))
  if prefix then counts:set(COUNTS, "affinity", prefix) end
  if most then counts:set(COUNTS, "asked", most) end
  if owner ~= nil then
    local reserved, lease = reserve(handle, headers, owner, name, tokens)
    if not reserved then
      return
    end
    if lease ~= "" then
      counts = handle:streamInfo():dynamicMetadata()
      counts:set(COUNTS, "reserved", tokens)
      counts:set(COUNTS, "lease", lease)
    end
  end
  if recorded ~= nil then
    record(handle, recorded, text, found, path)
  end
  if #edits > 0 then
    handle:body(true):setBytes(edited(text, edits))
  end
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local owner = owner_of_request(handle, headers)
  local named, path = match(headers:get(":path"), "^/endpoints/([^/?]+)(/v1/.*)$")
  if named ~= nil then
    headers:replace(":path", path)
  else
    path = headers:get(":path")
  end
  path = match(path, "^[^?]*")
  if path == "/v1/models" or sub(path, 1, 11) == "/v1/models/" then
    return models(handle, headers, path, owner)
  end
  -- A request whose script fails would go on as it is: unread, and with nothing reserved.
  local good, why = pcall(route_request, handle, headers, path, named, owner)
  if not good then
    handle:logErr("language.lua: " .. tostring(why))
    refuse(handle, handle:headers(), "500", "13", "the gateway failed on this request", "gateway_error")
  end
end

local function set(counts, key, value)
  if value ~= nil then
    counts:set(COUNTS, key, tonumber(value) or value)
  end
end

-- Reads OpenAI's usage in any of its dialects.
local function read_usage(counts, usage)
  set(counts, "input", match(usage, '"prompt_tokens"%s*:%s*(%d+)') or match(usage, '"input_tokens"%s*:%s*(%d+)'))
  set(counts, "output", match(usage, '"completion_tokens"%s*:%s*(%d+)') or match(usage, '"output_tokens"%s*:%s*(%d+)'))
  set(counts, "cached", match(usage, '"cached_tokens"%s*:%s*(%d+)'))
  set(counts, "reasoning", match(usage, '"reasoning_tokens"%s*:%s*(%d+)'))
end

local TEXTS = { '"content"%s*:%s*"()', '"text"%s*:%s*"()', '"delta"%s*:%s*"()' }

-- The text that a part of an answer has, as it stands there; of a part that is cut off, up to its end.
local function said(text)
  for _, key in ipairs(TEXTS) do
    local parts, at = {}, match(text, key)
    while at ~= nil do
      local stop = after_string(text, at)
      parts[#parts + 1] = sub(text, at, (stop or #text + 2) - 2)
      at = stop and match(text, key, stop)
    end
    if #parts > 0 then
      return table.concat(parts)
    end
  end
  return ""
end

local function character(kind, code)
  local number = kind == "u" and tonumber(code, 16)
  if not number then
    return (find(kind, "[nrt]") and " " or kind) .. code
  elseif number < 128 then
    return char(number)
  elseif number < 2048 then
    return char(192 + math.floor(number / 64), 128 + number % 64)
  end
  return char(224 + math.floor(number / 4096), 128 + math.floor(number / 64) % 64, 128 + number % 64)
end

-- Whether an answer that begins so is a refusal, once that can be told; `seen.said` is what was said up to here.
local function judge(counts, seen, text, refusals, ended)
  if seen.judged then
    return
  end
  local refused = find(text, '"refusal":"', 1, true) ~= nil
  seen.said = sub((seen.said or "") .. said(text), 1, 2 * MOST_SAID)
  local begins = gsub(gsub(gsub(seen.said, "\\(.)(%x?%x?%x?%x?)", character), "\226\128\153", "'"), "^%s+", "")
  begins = string.lower(begins)
  for _, refusal in ipairs(refusals) do
    refused = refused or sub(begins, 1, #refusal) == refusal
  end
  if refused or ended or #begins >= MOST_SAID then
    seen.judged = true
    set(counts, "refused", refused and 1 or 0)
  end
end

-- The last `"key":{…}` in a text.
local function object_in(text, key)
  local found
  for object in text:gmatch('"' .. key .. '"%s*:%s*(%b{})') do
    found = object
  end
  return found
end

-- Without each `,"key":{…}`: the rest, and the last of the objects. A quote inside a string has a backslash before it,
-- so that no text of an answer looks like this.
local function without(text, key, keep)
  local mark, object = ',"' .. key .. '":{', nil
  local at = find(text, mark, 1, true)
  while at ~= nil do
    local stop
    object, stop = match(text, "^(%b{})()", at + #mark - 1)
    if object == nil then
      return text, nil
    end
    if not keep then
      text, stop = sub(text, 1, at - 1) .. sub(text, stop), at
    end
    at = find(text, mark, stop, true)
  end
  return text, object
end

-- The last events of a stream, one of which has the usage and no choice.
local function last_events(text, asked)
  return (gsub(text, "data: [^\n]*\n\n", function(event)
    if find(event, '"choices":[]', 1, true) then
      return not asked.usage and "" or nil
    end
    return not asked.each and without(event, "usage") or nil
  end))
end

local function tokens_text(counts)
  local known, parts = counts:get(COUNTS) or {}, {}
  for _, key in ipairs({ "input", "cached", "output", "reasoning" }) do
    if known[key] ~= nil then
      parts[#parts + 1] = key .. "=" .. format("%d", known[key])
    end
  end
  return table.concat(parts, "; ")
end

-- Whole events, as they go on to the client; what was counted up to here is in the metadata.
local function events(counts, text, asked, seen)
  local timings, usage
  text, timings = without(text, "timings", asked.timings)
  if timings ~= nil then
    if seen.input == nil then
      local cached = tonumber(match(timings, '"cache_n":(%d+)')) or 0
      seen.input = (tonumber(match(timings, '"prompt_n":(%d+)')) or 0) + cached
      set(counts, "input", seen.input)
      set(counts, "cached", cached)
    end
    set(counts, "output", match(timings, '"predicted_n":(%d+)'))
  end
  if find(text, '"usage":{', 1, true) then
    local ends = find(text, '"choices":[]', 1, true) ~= nil
    local _, last = without(text, "usage", true)
    usage = last
    if usage ~= nil and (ends or timings == nil) then
      read_usage(counts, usage)
    end
    if ends then
      text = last_events(text, asked)
    elseif not asked.each then
      text = without(text, "usage")
    end
  end
  local at = find(text, '"finish_reason":"', 1, true)
  if at ~= nil then
    set(counts, "finish", match(text, '^[%a_]+', at + 17))
  elseif find(text, '"type":"response.completed"', 1, true) then
    set(counts, "finish", "stop")
    at = 1
  end
  if seen.refusals ~= nil then
    judge(counts, seen, text, seen.refusals, at ~= nil)
  end
  if timings == nil and usage == nil and find(text, '"delta":{', 1, true) then
    seen.events = (seen.events or 0) + 1
    set(counts, "output", seen.events)
  end
  return text
end

local function metadata(handle)
  return handle:streamInfo():dynamicMetadata()
end

-- Of an answer that is recorded: keeps the texts in what has come of it, and the id that it has.
local function keep(handle, kept, text, whole)
  local meta, parts = metadata(handle), { kept.block }
  local keys = whole and kept.path == "/v1/responses" and { "text" } or KEPT[kept.path]
  if kept.path == "/v1/chat/completions" and find(text, '"tool_calls":', 1, true) then
    keys = { "content", "name", "arguments" }
  end
  if kept.id == nil then
    kept.id = match(text, '"id"%s*:%s*"(%a*cmpl%-[^"]*)"') or match(text, '"id"%s*:%s*"(resp_[^"]*)"')
    if kept.id ~= nil then meta:set(RECORD, "id", kept.id) end
  end
  if kept.left <= 0 or kept.many then
    if find(text, '"' .. keys[1] .. '":"', 1, true) then meta:set(RECORD, "cut", true) end
    return
  end
  for _, key in ipairs(keys) do
    local at = match(text, '"' .. key .. '"%s*:%s*"()')
    while at ~= nil do
      local stop = after_string(text, at) or #text + 2
      local part = head_of(sub(text, at, stop - 2), kept.left)
      if #part < stop - 1 - at or stop > #text + 1 then meta:set(RECORD, "cut", true) end
      parts[#parts + 1], kept.left = part, kept.left - #part
      at = kept.left > 0 and match(text, '"' .. key .. '"%s*:%s*"()', stop) or nil
    end
  end
  kept.block = table.concat(parts)
  meta:set(RECORD, tostring(kept.number), kept.block)
  if #kept.block > BLOCK then
    kept.number, kept.block = kept.number + 1, ""
  end
end

-- What is to be kept of this answer; nil for nothing. One that failed is sent, and it alone if no other was chosen.
local function kept_of(handle, status)
  local kept = metadata(handle):get(RECORD)
  if kept == nil then
    return nil
  elseif tonumber(status) >= 400 then
    metadata(handle):set(RECORD, "send", kept.chosen or kept.errors)
  elseif not kept.chosen then
    metadata(handle):set(RECORD, "prompt", "")
  else
    return { path = kept.path, left = kept.bytes, many = kept.many, number = 1, block = "" }
  end
end

local function stream(handle, asked, explain, refusals, kept)
  local held, seen = "", { refusals = refusals }
  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    local fresh = chunk:getBytes(0, length)
    local text = held == "" and fresh or held .. fresh
    held = ""
    if sub(text, -2) ~= "\n\n" then
      local stop = match(text, ".*\n\n()") or 1
      if #text - stop < MOST_HELD then
        text, held = sub(text, 1, stop - 1), sub(text, stop)
      end
    end
    local counts = metadata(handle)
    if kept ~= nil and text ~= "" then
      keep(handle, kept, text)
    end
    text = text ~= "" and events(counts, text, asked, seen) or text
    if explain then
      text = gsub(text, "data: %[DONE%]", function(done) return ": argosy " .. tokens_text(counts) .. "\n\n" .. done end)
    end
    if text ~= fresh then
      chunk:setBytes(text)
    end
  end
end

-- An answer that is no stream: what it used is near one of its ends.
local function ended(counts, head, tail, refusals)
  local usage = object_in(tail, "usage") or object_in(head, "usage")
  if usage ~= nil then
    read_usage(counts, usage)
  end
  local finish = '"finish_reason"%s*:%s*"([%a_]+)"'
  set(counts, "finish", match(tail, finish) or match(head, finish) or "stop")
  if refusals ~= nil then
    judge(counts, {}, head, refusals, true)
  end
  return usage ~= nil
end

local function whole(handle, refusals, kept)
  local head, tail, parts, size = "", "", {}, 0
  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    if kept ~= nil and size < kept.left + TAIL then
      parts[#parts + 1] = chunk:getBytes(0, math.min(length, kept.left + TAIL - size))
      size = size + length
    end
    if #head < HEAD then
      head = head .. chunk:getBytes(0, math.min(length, HEAD))
    end
    local last = math.min(length, TAIL)
    tail = sub(tail .. chunk:getBytes(length - last, last), -TAIL)
  end
  if kept ~= nil then
    keep(handle, kept, table.concat(parts), true)
  end
  ended(metadata(handle), head, tail, refusals)
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local counts = metadata(handle)
  local known = counts:get("argosy")
  local explain = known ~= nil and known["explain"]
  if explain then
    -- Of `lua/affinity.lua`: the share of the prompt that this replica had, and how many waited for it.
    local chosen = counts:get("argosy.affinity")
    local why = chosen ~= nil and format("%.2f; queue=%d", chosen["affinity"], chosen["queue"]) or "-"
    headers:replace("x-argosy-decision", "replica=" .. (headers:get("x-argosy-replica") or "-") .. "; affinity="
      .. why .. "; attempts=" .. (headers:get("x-argosy-attempts") or "-"))
  end
  headers:remove("x-argosy-attempts")
  local kept = kept_of(handle, headers:get(":status"))
  if headers:get(":status") ~= "200" or counts:get(COUNTS) == nil then
    return
  end
  local kind, refusals = headers:get("content-type") or "", handle:metadata():get("refusals")
  if sub(kind, 1, 17) == "text/event-stream" then
    stream(handle, known ~= nil and known["asked"] or { timings = true, usage = true, each = true }, explain, refusals,
      kept)
  elseif explain and (tonumber(headers:get("content-length")) or MOST_EXPLAINED) < MOST_EXPLAINED then
    local body = handle:body(true)
    local text = body:getBytes(0, body:length())
    if kept ~= nil then
      keep(handle, kept, text, true)
    end
    if ended(metadata(handle), sub(text, 1, HEAD), sub(text, -TAIL), refusals) then
      handle:headers():replace("x-argosy-tokens", tokens_text(metadata(handle)))
    end
  else
    whole(handle, refusals, kept)
  end
end
