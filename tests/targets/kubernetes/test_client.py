"""Cluster against an API server on its worst days: each has an error in a user's words, bounded memory and time."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from argosy.spec.errors import Conflict, InvalidArgument, NotFound, PermissionDenied, Unavailable
from argosy.targets.kubernetes import client
from argosy.targets.kubernetes.client import Cluster, Full, path_of, plural
from argosy.targets.kubernetes.kubeconfig import Access, Server, User
from tests.ports import free
from tests.targets.kubernetes.hostile import Answers, Cut, Request, answer, chunk, hostile, in_turn, refusal, start

CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"key": "value"}}
PODS = "/api/v1/namespaces/test/pods"


class Waits(list[float]):
    """Instead of waiting, how long it would have been."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


def cluster_at(url: str, *tokens: str, seconds: float = 20.0) -> tuple[Cluster, Waits]:
    """A cluster whose credentials are the next of these tokens each time that they are read."""
    waits, left = Waits(), list(tokens)

    def access() -> Access:
        token = (left.pop(0) if len(left) > 1 else left[0]) if left else ""
        return Access(Server(server=url), User(token=token, folder=Path()), "test", "user 'u'", "FILE")

    return Cluster(access, sleep=waits, seconds=seconds), waits


async def outcome(answers: Answers, *tokens: str, call: str = "apply", seconds: float = 20.0):
    """What a call gives or raises, the requests that were made, and the waits between them."""
    async with hostile(answers) as server:
        cluster, waits = cluster_at(server.url, *tokens, seconds=seconds)
        calls = {
            "apply": lambda: cluster.apply(CONFIG),
            "get": lambda: cluster.get("v1", "ConfigMap", "one"),
            "list": lambda: cluster.list("v1", "Pod"),
            "delete": lambda: cluster.delete("v1", "Pod", "one"),
        }
        try:
            found = await calls[call]()
        except Exception as error:
            found = error
        await cluster.close()
        return found, server, waits


async def test_an_object_is_applied_with_its_manager():
    async with hostile(in_turn(answer(200, CONFIG))) as server:
        cluster, _ = cluster_at(server.url, "secret")
        assert await cluster.apply(CONFIG, manager="argosy-scale", force=True, dry=True) == CONFIG
        await cluster.close()
    [request] = server.seen
    assert (request.method, request.path) == ("PATCH", "/api/v1/namespaces/test/configmaps/one")
    assert request.query == {"fieldManager": "argosy-scale", "force": "true", "dryRun": "All"}
    assert request.headers["content-type"] == "application/apply-patch+yaml"
    assert request.headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("first", "waited"),
    [
        (refusal(429, "slow down", retry_after="3"), 3.0),
        (refusal(429, "slow down", retry_after="86400"), 10.0),
        (refusal(500, "etcdserver: leader changed"), None),
        (refusal(503, "starting", retry_after="1"), 1.0),
        (answer(200, b"<html>login</html>"), None),
        (answer(502, b"bad gateway"), None),
        ((answer(200, CONFIG)[:-7], Cut), None),
        ((start() + chunk(b"{") + b"ff\r\n{", Cut), None),
        ((start() + chunk(b"{}"), Cut), None),
        (b"no http at all\r\n\r\n", None),
        (Cut, None),
    ],
    ids=["429", "429-long", "500", "503", "html", "502", "short", "truncated", "no-end", "garbage", "cut"],
)
async def test_what_may_pass_is_tried_again(first, waited):
    found, server, waits = await outcome(in_turn(first, answer(200, CONFIG)))
    assert found == CONFIG
    assert len(server.seen) == 2
    assert waits == [waited] if waited is not None else 0 < waits[0] <= 0.25


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (refusal(500, "etcdserver: request timed out"), "answered 500 to PATCH .*: etcdserver: request timed out"),
        (refusal(500, 'failed calling webhook "w.test": connection refused'), r'failed calling webhook "w\.test"'),
        (refusal(429, "slow down"), "answered 429"),
        (answer(200, b"<html>"), "what is no JSON: no API server"),
        (answer(302, b"", location="https://login.test"), "answered 302"),
        (Cut, "cannot be reached: RemoteProtocolError"),
    ],
    ids=["500", "webhook", "429", "html", "302", "cut"],
)
async def test_what_does_not_pass_is_given_up(given, message):
    found, server, waits = await outcome(in_turn(given))
    with pytest.raises(Unavailable, match=message):
        raise found
    assert (len(server.seen), len(waits)) == (client.TRIES, client.TRIES - 1)


QUOTA = 'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2'
HELD = {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl" using apps/v1', "field": ".spec.replicas"}


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (refusal(400, "invalid JSON"), InvalidArgument, "refuses this: invalid JSON"),
        (refusal(422, "spec.x: Required"), InvalidArgument, "spec.x: Required"),
        (refusal(413, "Request entity too large"), InvalidArgument, "too large"),
        (refusal(403, 'User "u" cannot patch resource "x"'), PermissionDenied, "user 'u' may not .* test: User \"u\""),
        (refusal(403, 'admission webhook "w" denied the request: no'), PermissionDenied, 'webhook "w" denied'),
        (refusal(403, QUOTA), Full, "a quota of namespace test leaves no room: .*limited: pods=2"),
        (refusal(404, 'namespaces "test" not found', "NotFound"), NotFound, 'namespaces "test" not found'),
        (answer(404, b"404 page not found"), NotFound, "no such API: PATCH"),
        (refusal(409, "Apply failed", "Conflict", HELD), Conflict, r"sets: \.spec\.replicas \(held by kubectl\)"),
        (refusal(409, "being deleted"), Conflict, "being deleted"),
        (refusal(403, "no\x1b[2J\nno" + "x" * 10**6), PermissionDenied, r"no \[2J nox"),
    ],
    ids=["400", "422", "413", "403", "denied", "quota", "404", "no-api", "held", "409", "long"],
)
async def test_a_refusal_is_told_at_once(given, kind, message):
    found, server, _ = await outcome(in_turn(given))
    with pytest.raises(kind, match=message):
        raise found
    assert len(server.seen) == 1
    assert len(str(found)) < 3000


async def test_credentials_are_read_anew_once_they_are_not_taken(monkeypatch):
    monkeypatch.setattr(client, "FRESH", 3600.0)
    found, server, _ = await outcome(in_turn(refusal(401, "Unauthorized")), "just read", "new")
    with pytest.raises(PermissionDenied, match="does not take the credentials of user 'u' of FILE"):
        raise found
    assert len(server.seen) == 1
    monkeypatch.setattr(client, "FRESH", -1.0)
    found, server, waits = await outcome(in_turn(refusal(401, "Unauthorized"), answer(200, CONFIG)), "old", "new")
    assert found == CONFIG
    assert [each.headers["authorization"] for each in server.seen] == ["Bearer old", "Bearer new"]
    assert waits == [0.0]
    found, server, _ = await outcome(in_turn(refusal(401, "Unauthorized")), "old")
    with pytest.raises(PermissionDenied, match="does not take the credentials of user 'u' of FILE"):
        raise found
    assert len(server.seen) == 2


async def test_many_requests_renew_credentials_once(monkeypatch):
    monkeypatch.setattr(client, "FRESH", -1.0)

    async def answers(request: Request) -> AsyncIterator[bytes]:
        good = request.headers["authorization"] == "Bearer 2"
        yield answer(200, CONFIG) if good else refusal(401, "Unauthorized")

    async with hostile(answers) as server:
        cluster, _ = cluster_at(server.url, "1", "2", "3")
        await asyncio.gather(*(cluster.apply(CONFIG) for _ in range(30)))
        await cluster.close()
    assert {each.headers["authorization"] for each in server.seen} == {"Bearer 1", "Bearer 2"}


def page(*names: str, go_on: str = "") -> bytes:
    items = [{"metadata": {"name": name, "resourceVersion": "1"}} for name in names]
    return answer(200, {"items": items, "metadata": {"resourceVersion": "7", "continue": go_on}})


async def test_a_list_whose_token_is_too_old_begins_again():
    expired = refusal(410, "The provided continue parameter is too old", "Expired")
    found, server, _ = await outcome(
        in_turn(page("a", go_on="t"), expired, page("b", go_on="u"), page("c")), call="list"
    )
    assert [each["metadata"]["name"] for each in found] == ["b", "c"]
    assert [each.query.get("continue") for each in server.seen] == [None, "t", None, "u"]
    found, server, _ = await outcome(in_turn(expired), call="list")
    with pytest.raises(Unavailable, match="forgets its lists of pods"):
        raise found
    assert len(server.seen) == client.TRIES


@pytest.mark.parametrize(
    "body", [{"items": 3}, {"items": ["x"]}, {"metadata": "x"}], ids=["number", "texts", "metadata"]
)
async def test_a_list_that_is_none(body):
    found, _, _ = await outcome(in_turn(answer(200, body)), call="list")
    with pytest.raises(Unavailable, match="what is no list"):
        raise found


async def test_what_is_absent():
    gone = refusal(404, 'pods "one" not found', "NotFound")
    assert (await outcome(in_turn(gone), call="get"))[0] is None
    assert (await outcome(in_turn(gone), call="delete"))[0] is None


async def silent(request: Request) -> AsyncIterator[bytes]:
    yield b""
    await asyncio.sleep(60)


async def dripping(request: Request) -> AsyncIterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"
    while True:
        yield b" "
        await asyncio.sleep(0.01)


async def endless(request: Request) -> AsyncIterator[bytes]:
    yield start()
    while True:
        yield chunk(b" " * 65536)


@pytest.mark.parametrize("answers", [silent, dripping])
async def test_a_server_that_does_not_come_to_an_end_is_not_waited_for(answers):
    found, server, _ = await outcome(answers, seconds=2.0)
    with pytest.raises(Unavailable, match=r"did not answer PATCH .* within 2 s"):
        raise found
    assert len(server.seen) == 1


async def test_an_answer_without_end_is_not_read(monkeypatch):
    monkeypatch.setattr(client, "LONGEST", 10**6)
    found, server, _ = await outcome(endless)
    with pytest.raises(Unavailable, match="answered more than 1000000 bytes"):
        raise found
    assert server.sent < client.TRIES * 20 * 10**6  # what sockets hold comes on top


async def test_a_server_that_is_away_and_comes_back():
    cluster, waits = cluster_at(f"http://127.0.0.1:{free()}")
    with pytest.raises(Unavailable, match="cannot be reached: ConnectError"):
        await cluster.get("v1", "Pod", "one")
    assert len(waits) == client.TRIES - 1
    await cluster.close()


def test_names_in_paths():
    kinds = [
        "Pod",
        "Pod/log",
        "NetworkPolicy",
        "Ingress",
        "Endpoints",
        "EndpointSlice",
        "Gateway",
        "HTTPRoute",
        "PriorityClass",
    ]
    plurals = "pods pods/log networkpolicies ingresses endpoints endpointslices gateways httproutes priorityclasses"
    assert " ".join(map(plural, kinds)) == plurals
    assert path_of("v1", "Pod", "test") == PODS
    assert path_of("apps/v1", "Deployment", "n", "d") == "/apis/apps/v1/namespaces/n/deployments/d"
    assert path_of("v1", "Namespace", "n", "x") == "/api/v1/namespaces/x"


async def test_a_log_comes_as_it_is_written_and_its_end_is_told():
    async def answering(request: Request) -> AsyncIterator[bytes]:
        yield start()
        yield chunk(b"one\ntw")
        yield chunk(b"o\n")
        raise Cut

    async with hostile(answering) as server:
        cluster, _ = cluster_at(server.url)
        said = bytearray()

        async def read() -> None:
            async for part in cluster.log("web-0", "replica", 5, follow=True):
                said.extend(part)

        with pytest.raises(Unavailable, match="cannot be reached"):
            await read()
        assert said == b"one\ntwo\n"
        assert server.seen[0].path == f"{PODS}/web-0/log"
        assert server.seen[0].query == {"container": "replica", "tailLines": "5", "follow": "true"}
        await cluster.close()
