"""Requests of a device to a real server, and to servers that are slow, endless or somebody else."""

import datetime as dt
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from argosy.api.devices import DeviceApi
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from argosy.store.fleets import Fleet
from argosy.store.ledger import Cause
from argosy.store.store import Store
from argosy_edge import connection as connections
from argosy_edge import statement
from argosy_edge.clock import Clock
from argosy_edge.connection import address
from argosy_edge.errors import Conflict, InvalidArgument, NotFound, PermissionDenied, Unavailable
from argosy_edge.identity import Identity, Platform
from argosy_edge.link import Link, enrol
from argosy_edge.wire import AgentReport, Challenge, KeySet, WireError
from tests.edge.platforms import answering, certified, platform
from tests.trust.conftest import make_key


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = open_store(Home(tmp_path / "platform"), Settings())
    found.fleets.create(Fleet(name="cars", created=time.time()), Cause())
    yield found
    found.close()


@pytest.fixture
def url(store: Store) -> Iterator[str]:
    with platform(store) as found:
        yield found


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return Identity(tmp_path / "identity")


def token(store: Store) -> str:
    return store.fleets.devices.make_token(
        "cars", uses=9, now=time.time(), seconds=600, labels={"s": "n"}, cause=Cause()
    )


def enrolled(store: Store, url: str, identity: Identity, authority: str = "", name: str = "a") -> Link:
    enrol(identity, Platform(url=url, authority=authority), "cars", token=token(store), name=name)
    return Link(identity)


def test_a_device_enrols_asks_and_reports(store: Store, url: str, identity: Identity) -> None:
    text = token(store)
    found = enrol(identity, Platform(url=url), "cars", token=text, labels={"line": "2"})
    assert found.keys == (store.fleet_keys.pem,)
    kept = b"".join(path.read_bytes() for path in identity.folder.iterdir())
    assert text.encode() not in kept
    link = Link(identity)
    assert link.desired("", 0).revision == "0"
    assert link.labels == {"s": "n", "line": "2"}
    assert link.report(AgentReport(number=1, boot=1, phase="idle")).number == 1
    with pytest.raises(NotFound, match="no update of this device"):
        link.plan("sha256:" + "0" * 64)
    with pytest.raises(Conflict, match="already"):
        enrol(identity, Platform(url=url), "cars", token=text)


def test_a_token_that_is_not_good_is_said(store: Store, url: str, identity: Identity) -> None:
    with pytest.raises(PermissionDenied, match="argosy fleet token makes one"):
        enrol(identity, Platform(url=url), "cars", token="guess")
    with pytest.raises(NotFound, match="no fleet 'boats'"):
        enrol(identity, Platform(url=url), "boats", token="guess")
    assert identity.enrolled is None


def test_an_answer_that_was_lost_gives_the_same_device(store: Store, url: str, identity: Identity) -> None:
    text = token(store)
    first = enrol(identity, Platform(url=url), "cars", token=text)
    (identity.folder / "device.json").unlink()
    assert enrol(Identity(identity.folder), Platform(url=url), "cars", token=text) == first


def test_a_session_that_is_over_is_begun_anew(store: Store, url: str, identity: Identity) -> None:
    link = enrolled(store, url, identity)
    link.desired("", 0)
    Link(identity).desired("", 0)  # the agent was started anew: the session before is over
    assert link.desired("", 0).revision == "0"
    assert link.get("blobs/" + "0" * 64, 0, 10).status == 404
    assert store.fleets.devices.get("a").session == 3


def test_a_new_key_for_updates_is_taken_over_before_anything_else(store: Store, url: str, identity: Identity) -> None:
    link = enrolled(store, url, identity)
    link.desired("", 0)
    before = link.keys

    def sign(number: int, keys: tuple[str, ...], by: Any) -> bytes:
        payload = msgspec.json.encode(KeySet(number=number, keys=keys))
        return msgspec.json.encode(statement.sign(statement.KEYS, payload, by))

    store.fleet_keys.rotate(sign, retire=False, cause=Cause())
    assert link.desired("", 0).revision == "0"
    assert link.keys == (store.fleet_keys.pem, *before)
    assert Identity(identity.folder).enrolled == identity.enrolled
    store.fleet_keys.rotate(lambda number, keys, _: sign(number, keys, make_key()), retire=True, cause=Cause())
    with pytest.raises(WireError, match="not one of the fleet's"):
        link.desired("", 0)
    assert store.fleet_keys.pem not in link.keys


def test_the_ratchet_is_on_the_disk_before_a_session_is_used(
    store: Store, url: str, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = enrolled(store, url, identity)
    before = identity.ratchet

    def full(*_: object) -> int:
        raise OSError(28, "no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("argosy_edge.durable.os.write", full)
        with pytest.raises(OSError, match="no space"):
            link.desired("", 0)
    assert identity.ratchet == before
    assert store.fleets.devices.get("a").previous, "nothing was asked in it"
    assert link.desired("", 0).revision == "0"


def test_a_device_that_was_revoked_stops_and_says_why(store: Store, url: str, identity: Identity) -> None:
    link = enrolled(store, url, identity)
    link.desired("", 0)
    waiting = list[Exception]()

    def wait() -> None:
        try:
            link.desired("0", 50)
        except PermissionDenied as error:
            waiting.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    store.fleets.devices.revoke("a", time.time(), Cause(reason="it was stolen"))
    thread.join()
    assert "it was stolen" in str(waiting[0])
    asked = store.fleets.devices.get("a").session
    for call in (lambda: link.desired("", 0), lambda: link.report(AgentReport(number=1, boot=1, phase="idle"))):
        with pytest.raises(PermissionDenied, match=r"refuses this device: .*it was stolen"):
            call()
    assert store.fleets.devices.get("a").session == asked


def test_a_device_that_is_there_twice_is_refused_twice(store: Store, url: str, tmp_path: Path) -> None:
    identity = Identity(tmp_path / "identity")
    link = enrolled(store, url, identity)
    link.desired("", 0)
    shutil.copytree(identity.folder, tmp_path / "copy")
    two = Link(Identity(tmp_path / "copy"))
    two.desired("", 0)
    with pytest.raises(PermissionDenied, match="two devices have its key"):
        link.desired("", 0)
    with pytest.raises(PermissionDenied, match="suspended"):
        two.desired("", 0)


def test_a_platform_that_starts_anew_is_found_again(store: Store, identity: Identity) -> None:
    with platform(store) as url:
        link = enrolled(store, url, identity)
        link.desired("", 0)
    with pytest.raises(Unavailable, match="cannot be reached"):
        link.desired("", 0)


def test_threads_share_a_session(store: Store, url: str, identity: Identity) -> None:
    link, found = enrolled(store, url, identity), list[str]()
    threads = [threading.Thread(target=lambda: found.append(link.desired("", 0).revision)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["0"] * 4
    assert store.fleets.devices.get("a").session == 1


def test_a_clock_in_1970_needs_the_authority(store: Store, identity: Identity, tmp_path: Path) -> None:
    context, pem = certified(tmp_path, dt.datetime(2040, 1, 1, tzinfo=dt.UTC), 30)
    with platform(store, tls=context) as url:
        with pytest.raises(Unavailable, match="certificate does not count"):
            enrol(identity, Platform(url=url), "cars", token=token(store))
        link = enrolled(store, url, identity, authority=pem)
        clock = Clock(tmp_path / "clock.json", 1, wall=lambda: 9.0)
        link = Link(identity, clock)
        assert link.desired("", 0).revision == "0"
        assert abs(clock.now() - time.time()) < 3600
        link._connection().close()
        with pytest.raises(Unavailable, match=r"good from .* 2040"):
            link.desired("", 0)  # now the time is known


def test_another_authority_or_name_does_not_count(store: Store, identity: Identity, tmp_path: Path) -> None:
    context, pem = certified(tmp_path, dt.datetime(2020, 1, 1, tzinfo=dt.UTC), 30)
    _, other = certified(tmp_path, dt.datetime(2020, 1, 1, tzinfo=dt.UTC), 30)
    with platform(store, tls=context) as url:
        with pytest.raises(Unavailable, match="certificate does not count"):
            enrol(identity, Platform(url=url, authority=other), "cars", token=token(store))
        with pytest.raises(Unavailable, match=r"certificate does not count: .*localhost"):
            enrol(identity, Platform(url=url.replace("127.0.0.1", "localhost"), authority=pem), "cars")
    with pytest.raises(InvalidArgument, match="no certificate"):
        enrol(identity, Platform(url=url, authority="nothing"), "cars")


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


def endless(taken: socket.socket, _: bytes) -> None:
    taken.sendall(HEAD + b"\r\n")
    while True:
        taken.sendall(b" " * 65536)


def huge(taken: socket.socket, _: bytes) -> None:
    taken.sendall(HEAD + b"content-length: 99999999999\r\n\r\n" + b" " * 70_000)


def short(taken: socket.socket, _: bytes) -> None:
    taken.sendall(HEAD + b"content-length: 99\r\n\r\n{")


def dripping(taken: socket.socket, _: bytes) -> None:
    taken.sendall(HEAD + b"content-length: 9999\r\n\r\n")
    for _ in range(9999):  # until the client leaves
        taken.sendall(b" ")
        time.sleep(0.02)


def silent(taken: socket.socket, _: bytes) -> None:
    while taken.recv(65536):  # until the client leaves
        pass


def nothing(taken: socket.socket, _: bytes) -> None:
    taken.sendall(HEAD + b"content-length: 2\r\n\r\n{}")


def html(taken: socket.socket, _: bytes) -> None:
    taken.sendall(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 10\r\n\r\n<b>\x1b[2J</b>")


@pytest.mark.parametrize(
    ("say", "error", "words"),
    [
        (endless, WireError, "larger than 65536 bytes"),
        (huge, WireError, "larger than 65536 bytes"),
        (short, Unavailable, "cannot be reached"),
        (dripping, Unavailable, "was not there after"),
        (silent, Unavailable, "timed out"),
        (nothing, WireError, "cannot be read"),
        (html, Unavailable, "the platform answers 502"),
    ],
)
def test_a_server_that_is_slow_or_endless_is_given_up(
    say: object, error: type[Exception], words: str, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "WHOLE", 0.2 if say is dripping else 60.0)
    with answering(say) as url, pytest.raises(error, match=words):  # type: ignore[arg-type]
        connections.exchange(
            connections.Connection(Platform(url=url), connections.NoTime()),
            "POST",
            "challenge",
            Challenge,
            b"{}",
            seconds=0.3 if say is silent else 60.0,
        )


def test_what_was_not_read_is_not_taken_for_the_next_answer(store: Store, url: str, identity: Identity) -> None:
    link = enrolled(store, url, identity)
    answer = link.get("blobs/" + "0" * 64, 0, 10)
    assert answer.status == 404
    assert link.desired("", 0).revision == "0"
    answer = link.get("blobs/" + "0" * 64, 0, 10)
    assert msgspec.json.decode(answer.read())["error"]
    assert link.desired("", 0).revision == "0"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://x", "no URL"),
        ("https://", "no URL"),
        ("https://u@x", "no URL"),
        ("https://x:99999", "no URL"),
        ("http://platform.example", "not encrypted"),
    ],
)
def test_a_url_that_is_none_or_tells_everybody_is_refused(url: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        address(Platform(url=url))
    assert address(Platform(url="http://platform.example/a/", plain=True)) == ("http", "platform.example", 80, "/a")
    assert address(Platform(url="http://[::1]:7")) == ("http", "::1", 7, "")


def test_the_api_of_this_test_is_that_of_the_platform(store: Store) -> None:
    paths = {route.path for route in DeviceApi(store, lambda *_: None).routes()}  # type: ignore[attr-defined]
    assert {"/edge/v1/enrol", "/edge/v1/blobs/{sha256}"} <= paths
