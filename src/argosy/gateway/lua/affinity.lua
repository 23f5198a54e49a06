-- Sticky until saturated: which replica of a language model takes a request. Of the simulators, `routing/affinity.py` says why, and
-- the same. A worker thread of Envoy has a state of its own, which lives as long as the listener. Amounts are bytes.

local ffi = require("ffi")
local band, bxor, rol, tobit = bit.band, bit.bxor, bit.rol, bit.tobit
local sub = string.sub
local huge, max, min, sqrt, floor = math.huge, math.max, math.min, math.sqrt, math.floor

local WARM, PATIENCE, CHANCE = 0.8, 4, 2
local RECENT, HIGH, FORGET = 64, 0.9, 0.05
local BLOCK, MOST = 256, 1024
local HEAD = 4096

-- Hashes of the blocks of `text` from byte `at` on, and how many. Each goes on from the one before: equal ones mean
-- equal beginnings. They are numbers of 53 bits.
local function chain(text, at, seed)
  local count = min(floor((#text - at + 1) / BLOCK), MOST)
  local words = ffi.cast("const int32_t *", ffi.cast("const char *", text) + (at - 1))
  local a, b, found = seed, 0x3c6ef372, {}
  for block = 1, count do
    local from = (block - 1) * BLOCK / 4
    for place = from, from + BLOCK / 4 - 1 do
      a = tobit(a + words[place])
      b = bxor(rol(b, 5), a)
      a = tobit(rol(a, 13) + b)
    end
    found[block] = band(a, 0x1fffff) * 4294967296 + b % 4294967296
  end
  return found, count
end

-- Blocks, the least recently used first: `older` and `newer` are lists of nodes, of which 0 is before all and after all.
local function new_index(capacity)
  return { capacity = max(capacity, 1), size = 0, node = {}, hash = {}, used = {}, older = { [0] = 0 }, newer = { [0] = 0 } }
end

local function unlink(index, node)
  local older, newer = index.older[node], index.newer[node]
  index.newer[older], index.older[newer] = newer, older
end

local function matched(index, hashes, count)
  local low, high = 0, count
  while low < high do
    local middle = floor((low + high) / 2)
    if index.node[hashes[middle + 1]] then low = middle + 1 else high = middle end
  end
  return low
end

local function insert(index, hashes, count, now)
  for at = min(count, index.capacity), 1, -1 do
    local hash = hashes[at]
    local node = index.node[hash]
    if node then
      unlink(index, node)
    elseif index.size < index.capacity then
      node = index.size + 1
      index.size = node
    else
      node = index.newer[0]
      unlink(index, node)
      index.node[index.hash[node]] = nil
    end
    local newest = index.older[0]
    index.node[hash], index.hash[node], index.used[node] = node, hash, now
    index.older[node], index.newer[node] = newest, 0
    index.newer[newest], index.older[0] = node, node
  end
end

local function age(index, now)
  return index.size >= index.capacity and now - index.used[index.newer[0]] or huge
end

-- What is known of replicas, by the path or address of each.
local KNOWN = {}
local GAP = 0

local function new_replica(name, capacity)
  return { name = name, index = new_index(capacity), prefill = 0, waiting = {}, waits = 0, oldest = 1, last = 0, streams = 0, rates = {} }
end

local function wait(one)
  return max(one.prefill / one.speed, one.since)
end

local function alone(one, size)
  return size * (1 - one.affinity) / one.speed * (1 + one.churn)
end

-- Puts into each of the replicas what the choice goes by.
local function measure(replicas, hashes, count, now)
  local sum, measured = 0, 0
  for _, one in ipairs(replicas) do
    if one.rate then sum, measured = sum + one.rate, measured + 1 end
  end
  for _, one in ipairs(replicas) do
    while one.waits > 0 and one.waiting[one.oldest] == nil do one.oldest = one.oldest + 1 end
    one.since = one.waits > 0 and now - one.waiting[one.oldest].began or 0
    one.affinity = count > 0 and matched(one.index, hashes, count) / count or 0
    one.speed = one.rate or (measured > 0 and sum / measured or 1)
    local idle = age(one.index, now)
    one.churn = idle > 0 and min(GAP / idle, 1) or 1
  end
end

local function within(replicas)
  local streams, found = 0, {}
  for _, one in ipairs(replicas) do streams = streams + one.streams end
  local fair = streams / #replicas
  for _, one in ipairs(replicas) do
    if one.streams <= fair + CHANCE * sqrt(fair) then found[#found + 1] = one end
  end
  return found
end

-- Those that have nearly as much of the prompt as any; all where others are free so much sooner that it pays.
local function candidates(replicas, size)
  replicas = within(replicas)
  local best, these, least = 0, {}, huge
  for _, one in ipairs(replicas) do best = max(best, one.affinity) end
  for _, one in ipairs(replicas) do
    if one.affinity >= WARM * best then
      these[#these + 1] = one
      least = min(least, wait(one))
    end
  end
  for _, one in ipairs(replicas) do
    local again = PATIENCE * ((best - one.affinity) * size) / one.speed * (1 + one.waits)
    if one.affinity < WARM * best and wait(one) + again < least then return replicas end
  end
  return these
end

local function pick(replicas, size, random)
  local soonest, first = nil, huge
  local these = candidates(replicas, size)
  for _, one in ipairs(these) do
    one.first = wait(one) + alone(one, size)
    if one.first < first then soonest, first = one, one.first end
  end
  local late, good = first + alone(soonest, size), {}
  for _, one in ipairs(these) do
    if one.first <= late then
      local best = good[1]
      if best == nil or one.streams < best.streams or (one.streams == best.streams and one.index.size < best.index.size) then
        good = { one }
      elseif one.streams == best.streams and one.index.size == best.index.size then
        good[#good + 1] = one
      end
    end
  end
  return good[random(#good)]
end

-- Charges a request to one of `replicas`. The answer is its ticket.
local function charge(replicas, hashes, count, size, now, random)
  measure(replicas, hashes, count, now)
  local one = pick(replicas, size, random)
  local ticket = { one = one, affinity = one.affinity, charge = size * (1 - one.affinity), began = now, alone = one.waits == 0 }
  one.last = one.last + 1
  ticket.number = one.last
  one.prefill, one.waits, one.streams = one.prefill + ticket.charge, one.waits + 1, one.streams + 1
  one.waiting[ticket.number] = ticket
  if ticket.alone then one.oldest = ticket.number end
  if one.affinity > 0 then
    local used = one.index.used[one.index.node[hashes[matched(one.index, hashes, count)]]]
    GAP = GAP + FORGET * (now - used - GAP)
  end
  insert(one.index, hashes, count, now)
  return ticket
end

local function release(ticket)
  local one = ticket.one
  one.waiting[ticket.number] = nil
  one.waits = one.waits - 1
  one.prefill = one.waits > 0 and max(one.prefill - ticket.charge, 0) or 0
end

-- The first chunk of the answer has come.
local function answered(ticket, now)
  if ticket.answered or ticket.ended then return end
  release(ticket)
  ticket.answered = true
  if ticket.alone and ticket.charge > 0 and now > ticket.began then
    local one = ticket.one
    if #one.rates >= RECENT then table.remove(one.rates, 1) end
    one.rates[#one.rates + 1] = ticket.charge / (now - ticket.began)
    local sorted = { unpack(one.rates) }
    table.sort(sorted)
    one.rate = sorted[floor(HIGH * (#sorted - 1)) + 1]
  end
end

-- The request has ended, in whichever way. A second time is nothing.
local function ended(ticket)
  if ticket.ended then return end
  if not ticket.answered then release(ticket) end
  ticket.ended = true
  ticket.one.streams = ticket.one.streams - 1
end

-- Tickets in flight by number, and the stream of each, which the collector takes once Envoy is done with it.
local TICKETS, STREAMS = {}, setmetatable({}, { __mode = "v" })
local numbers, swept = 0, 0
-- Seconds: how often tickets are looked through, how long a replica is passed over that another one answered for, and
-- after how long one is forgotten that no route names.
local SWEEP, AWAY, FORGOTTEN = 0.5, 2, 600

-- A client that leaves before its answer begins runs no script: its stream is gone then, and its ticket is not.
local function sweep(now)
  if now - swept < SWEEP then return end
  swept = now
  if next(TICKETS) ~= nil then collectgarbage() end
  for number, ticket in pairs(TICKETS) do
    if STREAMS[number] == nil then
      ended(ticket)
      TICKETS[number] = nil
    end
  end
  for name, one in pairs(KNOWN) do
    if now - one.seen > FORGOTTEN and one.streams == 0 then KNOWN[name] = nil end
  end
end

-- The replicas of a cluster, of which `hosts` has name and address in turn. All are `away` as none is.
local function replicas_of(hosts, capacity, now)
  local all, here = {}, {}
  for at = 1, #hosts, 2 do
    local name = hosts[at]
    local one = KNOWN[name]
    if one == nil or one.address ~= hosts[at + 1] then
      one = new_replica(name, capacity)
      one.address = hosts[at + 1]
      KNOWN[name] = one
    end
    one.seen = now
    all[#all + 1] = one
    if (one.away or 0) <= now then here[#here + 1] = one end
  end
  return #here > 0 and here or all
end

-- Where the conversation begins in a request, and a seed that adapters of one model do not share.
local function beginning(head, tail)
  local at = head:find('"messages"', 1, true) or head:find('"prompt"', 1, true) or head:find('"input"', 1, true) or 1
  local model = head:match('"model"%s*:%s*"([^"]*)"') or tail:match('"model"%s*:%s*"([^"]*)"') or ""
  local seed = 0
  for place = 1, #model do
    seed = bxor(rol(seed, 5), model:byte(place))
  end
  return at, seed
end

-- The chosen one first, then the others by what they have before them: a host that Envoy has ejected, or that was
-- tried, is passed over.
local function in_order(chosen, replicas)
  table.sort(replicas, function(one, other) return wait(one) < wait(other) end)
  local found = { chosen.address }
  for _, one in ipairs(replicas) do
    if one ~= chosen then found[#found + 1] = one.address end
  end
  return table.concat(found, ",")
end

local function clock(handle)
  return tonumber(handle:timestampString(EnvoyTimestampResolution.MICROSECOND)) / 1e6
end

function envoy_on_request(handle)
  local context = handle:filterContext()
  local hosts = context ~= nil and context:get("hosts") or {}
  local capacity = #hosts > 0 and floor(context:get("cache") / BLOCK)
  local body = #hosts > 0 and handle:body(true)
  if not body or body:length() == 0 then return end
  local now, size = clock(handle), body:length()
  sweep(now)
  local text = body:getBytes(0, min(size, MOST * BLOCK + HEAD))
  local at, seed = beginning(sub(text, 1, HEAD), size > HEAD and body:getBytes(size - 512, 512) or "")
  local hashes, count = chain(text, at, seed)
  local replicas = replicas_of(hosts, capacity, now)
  -- Of equal ones: by how the conversation begins, so that one too short for a block stays as well.
  local prefix = tonumber(sub(handle:headers():get("argosy-prefix") or "", 1, 8), 16)
  local function chance(most) return prefix and prefix % most + 1 or math.random(most) end
  local ticket = charge(replicas, hashes, count, size, now, chance)
  numbers = numbers + 1
  TICKETS[numbers], STREAMS[numbers] = ticket, handle
  local metadata = handle:streamInfo():dynamicMetadata()
  metadata:set("envoy.lb", "replica", in_order(ticket.one, replicas))
  metadata:set("argosy.affinity", "ticket", numbers)
  metadata:set("argosy.affinity", "affinity", ticket.affinity)
  metadata:set("argosy.affinity", "queue", ticket.one.waits - 1)
end

-- Where another replica answers than the one that was chosen, that one is gone, or Envoy has ejected it.
local function moved(ticket, name, now)
  ended(ticket)
  ticket.one.away = now + AWAY
  local one = KNOWN[name]
  if one == nil then return ticket end
  one.streams = one.streams + 1
  return { one = one, answered = true }
end

function envoy_on_response(handle)
  local about = handle:streamInfo():dynamicMetadata():get("argosy.affinity")
  local number = about ~= nil and about.ticket
  local ticket = number and TICKETS[number]
  if not ticket then return end
  local headers = handle:headers()
  local name, good = headers:get("x-argosy-replica"), headers:get(":status") == "200"
  if name ~= nil and name ~= ticket.one.name then
    ticket = moved(ticket, name, clock(handle))
    TICKETS[number] = ticket
  elseif not good then
    ended(ticket)
  end
  for _ in handle:bodyChunks() do break end
  answered(ticket, clock(handle))
  handle:trailers()
  ended(ticket)
  TICKETS[number] = nil
end
