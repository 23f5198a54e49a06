"""The Envoy in front of an engine: who may call it, what passes, what it shows."""

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from argosy.language.front import Front, bootstrap
from argosy.process.envoy import OWN, TRUSTED
from argosy.spec.address import Address, TlsIdentity
from argosy.spec.errors import Internal
from argosy.store.authority import REPLICA, Authority
from tests.language.fake_engine import Fake
from tests.ports import free

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "stream": True}


class Ends:
    """The certificates of both ends, and the address between them."""

    def __init__(self, root: Path) -> None:
        self.authority = Authority(root / "tls", "p")
        self.shown = self.authority.identity("m", "abc", "m-0")
        self.folder = root / "replica"
        self.tend()
        own = TlsIdentity(name=self.shown.name, files=str(self.folder))
        self.at, self.log = Address(port=free(), tls=own), root / "log"

    def tend(self) -> None:
        """Make what is due."""
        self.authority.tend({self.folder: self.shown})

    def context(self, who: str) -> ssl.SSLContext:
        """TLS of a caller, `replica` is another replica; without a name it shows nothing."""
        context = ssl.create_default_context(cafile=self.shown.authorities)
        if who:
            context.load_cert_chain(self.folder / REPLICA if who == "replica" else self.shown.own(who))
        return context

    @contextmanager
    def client(self, who: str = "gateway") -> Iterator[httpx.Client]:
        """Of the engine behind it."""
        with httpx.Client(
            verify=self.context(who), base_url=f"https://127.0.0.1:{self.at.port}", trust_env=False
        ) as it:
            it.event_hooks = {"request": [lambda request: request.extensions.update(sni_hostname=self.shown.host)]}
            yield it


@pytest.fixture
def ends(tmp_path: Path, fake_engine: Fake) -> Iterator[Ends]:
    """With a front that listens, and the fake engine behind it."""
    ends = Ends(tmp_path)
    front = Front(ends.at, fake_engine.path, ends.log)
    try:
        front.wait()
        yield ends
    finally:
        front.process.end()


def test_what_it_is_started_with():
    identity = TlsIdentity(name="spiffe://p/endpoint/m/revision/r/replica/m-0", files="/c")
    made = bootstrap(Address(host="0.0.0.0", port=9, tls=identity), "/e.sock", {OWN: "/own", TRUSTED: "/trusted"})
    (listener,), (cluster,) = made["static_resources"]["listeners"], made["static_resources"]["clusters"]
    assert listener["address"]["socket_address"] == {"address": "0.0.0.0", "port_value": 9}
    (chain,) = listener["filter_chains"]
    tls = chain["transport_socket"]["typed_config"]
    known = tls["common_tls_context"]["combined_validation_context"]["default_validation_context"]
    names = [each["matcher"]["exact"] for each in known["match_typed_subject_alt_names"]]
    assert names == ["spiffe://p/gateway", "spiffe://p/activator", "spiffe://p/controller"]
    assert tls["require_client_certificate"] is True
    host = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
    assert host["endpoint"]["address"] == {"pipe": {"path": "/e.sock"}}
    plain = bootstrap(Address(port=9), "/e.sock", {})
    assert "transport_socket" not in plain["static_resources"]["listeners"][0]["filter_chains"][0]


def test_only_those_of_the_platform_that_pass_requests_on_pass(ends: Ends):
    for who in ("gateway", "activator", "controller"):
        with ends.client(who) as client:
            assert client.get("/health").json() == {"status": "ok"}
    for who in ("replica", ""):
        with ends.client(who) as client, pytest.raises(httpx.TransportError):
            client.get("/health")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{ends.at.port}/health", trust_env=False)


def test_strangers_are_bounded(tmp_path: Path, fake_engine: Fake, monkeypatch: pytest.MonkeyPatch):
    """More connections than it may have are closed at once, whoever they come from."""
    monkeypatch.setattr("argosy.language.front.MOST_OF_GATEWAY", 2)
    ends = Ends(tmp_path)
    front = Front(ends.at, fake_engine.path, ends.log)
    try:
        front.wait()
        held = [socket.create_connection(("127.0.0.1", ends.at.port)) for _ in range(3)]
        with contextlib.suppress(ConnectionResetError):
            assert held[2].recv(1) == b""
        held[0].setblocking(False)
        with pytest.raises(BlockingIOError):
            held[0].recv(1)
        for each in held:
            each.close()
    finally:
        front.process.end()


def test_a_caller_that_leaves_ends_the_generation(ends: Ends, fake_engine: Fake):
    with (
        ends.client() as client,
        client.stream("POST", "/v1/chat/completions", json=CHAT | {"fake": {"each": 0.05, "tokens": 500}}) as answer,
    ):
        assert next(answer.iter_lines()).startswith("data: ")
    while fake_engine.told()["aborted"] != 1:
        time.sleep(0.02)


def test_a_renewed_certificate_is_shown(ends: Ends):
    def shown() -> bytes:
        with ends.client() as client, client.stream("GET", "/health") as answer:
            return answer.extensions["network_stream"].get_extra_info("ssl_object").getpeercert(True)

    before = shown()
    (ends.folder / REPLICA).unlink()
    ends.tend()
    while shown() == before:
        time.sleep(0.05)


def test_a_port_that_is_taken_is_said(ends: Ends, fake_engine: Fake):
    second = Front(ends.at, fake_engine.path, ends.log)
    with pytest.raises(Internal, match=rf"does not listen at {ends.at}: .*[Aa]ddress already in use"):
        second.wait()
