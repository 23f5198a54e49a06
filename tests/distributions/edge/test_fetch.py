"""Fetching over a network that breaks, from platforms that are slow, endless or wrong, through kills."""

import errno
import hashlib
import http.client
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from argosy.edge import delta
from argosy.edge.delta import Making
from argosy_edge import fetch
from argosy_edge.errors import BadPackage, StorageFull, Unavailable
from argosy_edge.fetch import Counts, Fetcher, Interrupted, Stale
from argosy_edge.transfer import hashed
from argosy_edge.wire import PIECE, Transfer, TransferPlan, UpdateFile, WireError

RANDOM = np.random.default_rng(7)
OLD = RANDOM.standard_normal(300_000).astype("f4").tobytes()
NEW = b"metadata" + OLD[:600_000] + RANDOM.bytes(1000) + OLD[600_000:]
PATH = "weights/model.onnx"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blobs that take no time to make."""
    monkeypatch.setattr(delta, "LEVEL", 1)


class Response:
    """An answer from memory; it ends early after `lasts` bytes."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes, lasts: int | None = None) -> None:
        self.status, self.headers, self.body = status, headers, body
        self.lasts = len(body) if lasts is None else lasts
        self.closed = False

    def getheader(self, name: str, default: str = "", /) -> str:
        return self.headers.get(name, default)

    def read1(self, n: int = -1, /) -> bytes:
        data, self.body = self.body[: min(n, self.lasts)], self.body[min(n, self.lasts) :]
        self.lasts -= len(data)
        return data

    def close(self) -> None:
        self.closed = True


class Platform:
    """Has blobs by their name, and does `odd` things to answers."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, list[tuple[str, int, int]]()
        self.odd: Callable[[int, Response], Response] = lambda _, response: response

    def get(self, path: str, start: int, end: int) -> Response:
        self.asked.append((path, start, end))
        name = path.removeprefix("blobs/")
        found = self.folder / name
        if not found.exists():
            return Response(404, {}, b"")
        data = found.read_bytes()
        headers = {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"}
        return self.odd(len(self.asked), Response(206, headers, data[start:end]))


class Device:
    """A platform with ways to a new file, and a device with the old one."""

    def __init__(self, folder: Path, *kinds: str, new: bytes = NEW) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "old").write_bytes(OLD)
        (folder / "new").write_bytes(new)
        self.name, self.old = hashlib.sha256(new).hexdigest(), hashlib.sha256(OLD).hexdigest()
        self.file = UpdateFile(path=PATH, size=len(new), sha256=self.name)
        self.into, self.work, self.have = folder / "slot", folder / "work", {self.old: folder / "old"}
        ways = [self.way(folder, kind) for kind in kinds]
        self.plan = TransferPlan(files={self.name: tuple(ways)})
        self.blob = folder / "ways" / ways[0].blob
        (folder / "ways" / self.name).write_bytes(new)
        self.platform = Platform(folder / "ways")
        self.waited: list[float] = []
        self.now, self.stopped = 0.0, False

    def way(self, folder: Path, kind: str) -> Transfer:
        base = {"old": str(folder / "old"), "base": self.old} if kind == "patch" else {}
        into = str(folder / "ways")
        made = delta.make(Making(kind=kind, new=str(folder / "new"), sha256=self.name, into=into, **base))
        return msgspec.convert(msgspec.to_builtins(made), Transfer)

    def fetcher(self) -> Fetcher:
        stop = lambda: self.stopped  # noqa: E731
        return Fetcher(self.platform, self.work, stop=stop, sleep=self.waited.append, clock=lambda: self.now)

    def again(self, folder: Path) -> None:
        """As if nothing had been fetched."""
        shutil.rmtree(self.work)
        self.into = folder / "other"

    def fetch(self) -> Fetcher:
        fetcher = self.fetcher()
        fetcher.fetch([self.file], self.plan, self.have)
        fetcher.assemble([self.file], self.into, self.have)
        assert hashed(self.into / PATH) == self.name
        return fetcher


@pytest.mark.parametrize("kind", ["full", "patch", "chunks"])
def test_each_way(tmp_path: Path, kind: str) -> None:
    device = Device(tmp_path, kind)
    counts = device.fetch().counts
    assert counts.again == 0
    assert counts.sent == device.blob.stat().st_size if kind != "chunks" else counts.sent < 250_000
    assert {each.name for each in device.work.iterdir()} == {"counts.json", f"{device.name}.file"}


def test_what_is_there_is_not_fetched(tmp_path: Path) -> None:
    device = Device(tmp_path, "full")
    device.fetch()
    asked = len(device.platform.asked)
    device.fetch()
    assert len(device.platform.asked) == asked
    device.have[device.name] = device.into / PATH
    device.again(tmp_path)
    device.fetch()
    assert len(device.platform.asked) == asked


@pytest.mark.parametrize("kind", ["full", "chunks"])
def test_connections_that_break(tmp_path: Path, kind: str) -> None:
    device = Device(tmp_path, kind, new=NEW if kind == "full" else RANDOM.bytes(600_000))
    device.platform.odd = lambda _, response: Response(206, response.headers, response.body, 90_000)
    fetcher = device.fetch()
    assert fetcher.counts.again == 0
    assert fetcher.counts.sent == sum(min(90_000, end - start) for _, start, end in device.platform.asked)
    assert fetcher.counts.sent < 1.002 * (device.blob.stat().st_size + (600_000 if kind == "chunks" else 0))


def test_a_changed_piece_is_fetched_again_alone(tmp_path: Path) -> None:
    device = Device(tmp_path, "full")

    def odd(number: int, response: Response) -> Response:
        if number == 1:
            response.body = response.body[: PIECE + 5] + b"?" + response.body[PIECE + 6 :]
        return response

    device.platform.odd = odd
    counts = device.fetch().counts
    assert counts.again == PIECE
    assert device.platform.asked[1:] == [(f"blobs/{device.blob.name}", PIECE, 2 * PIECE)]
    assert counts.sent == device.blob.stat().st_size + PIECE


def test_a_blob_that_is_always_changed_gives_way_to_the_next(tmp_path: Path) -> None:
    device = Device(tmp_path, "patch", "full")
    whole = device.blob.read_bytes()
    device.blob.write_bytes(whole[:-1] + b"?")
    device.fetch()
    full = device.plan.files[device.name][1].blob
    assert device.platform.asked[-1][0] == f"blobs/{full}"
    (device.blob.parent / full).write_bytes(bytes(device.plan.files[device.name][1].size))
    device.again(tmp_path)
    with pytest.raises(BadPackage, match=r"patch: piece \d .*full: piece"):
        device.fetch()
    assert not (device.into / PATH).exists()


def test_an_altered_base_gives_way_to_the_whole_file(tmp_path: Path) -> None:
    device = Device(tmp_path, "patch", "full")
    (tmp_path / "old").write_bytes(bytes(len(OLD)))
    device.fetch()
    device.have = {}
    device.again(tmp_path)
    before = len(device.platform.asked)
    device.fetch()
    assert {name for name, _, _ in device.platform.asked[before:]} == {
        f"blobs/{device.plan.files[device.name][1].blob}"
    }


def test_chunks_that_are_not_there_give_way_to_the_whole_file(tmp_path: Path) -> None:
    device = Device(tmp_path, "chunks", "full")
    device.have = {}
    device.fetch()
    assert {name for name, _, _ in device.platform.asked} == {f"blobs/{w.blob}" for w in device.plan.files[device.name]}


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (206, {"Content-Range": "bytes 5-10/20"}),
        (206, {"Content-Range": "bytes 0-99999999/1131123"}),
        (206, {"Content-Range": "nonsense"}),
        (206, {}),
        (200, {"Content-Length": "17"}),
        (200, {"Content-Length": "x" * 50}),
        (200, {}),
        (500, {}),
        (401, {}),
    ],
)
def test_wrong_answers(tmp_path: Path, status: int, headers: dict[str, str]) -> None:
    device = Device(tmp_path, "full")
    device.platform.odd = lambda _, response: Response(status, headers, response.body)
    with pytest.raises(Interrupted, match="the platform"):
        device.fetch()
    assert len(device.platform.asked) == fetch.TRIES
    assert not device.into.joinpath(PATH).exists()


def test_a_platform_without_ranges(tmp_path: Path) -> None:
    device = Device(tmp_path, "full")

    def odd(number: int, response: Response) -> Response:
        whole = device.blob.read_bytes()
        return Response(200, {"Content-Length": str(len(whole))}, whole, 600_000 if number == 1 else None)

    device.platform.odd = odd
    counts = device.fetch().counts
    assert counts.again == 600_000
    assert counts.sent == counts.again + device.blob.stat().st_size


def test_an_endless_answer_is_read_to_its_end_alone(tmp_path: Path) -> None:
    device = Device(tmp_path, "full")
    answers: list[Response] = []

    def odd(_: int, response: Response) -> Response:
        answers.append(Response(206, response.headers, response.body + bytes(10_000_000)))
        return answers[-1]

    device.platform.odd = odd
    assert device.fetch().counts.sent == device.blob.stat().st_size
    assert all(each.closed and len(each.body) == 10_000_000 for each in answers)


def test_an_answer_that_only_drips_is_given_up(tmp_path: Path) -> None:
    device = Device(tmp_path, "full")

    class Drip(Response):
        def read1(self, n: int = -1, /) -> bytes:
            device.now += 29
            return super().read1(1)

    device.platform.odd = lambda _, response: Drip(206, response.headers, response.body)
    with pytest.raises(Interrupted, match="only 3 bytes came in 87 s"):
        device.fetch()
    assert len(device.platform.asked) == fetch.TRIES
    device.platform.odd = lambda _, response: response
    assert device.fetch().counts == Counts(sent=device.blob.stat().st_size, again=0)


def test_what_a_link_raises_is_a_broken_network(tmp_path: Path) -> None:
    device = Device(tmp_path, "full")
    raised = iter((http.client.IncompleteRead(b""), WireError("no answer of a platform"), Unavailable("no session")))

    def odd(number: int, response: Response) -> Response:
        response.lasts = 300_000
        if number % 2 and (error := next(raised, None)):
            raise error
        return response

    device.platform.odd = odd
    assert device.fetch().counts == Counts(sent=device.blob.stat().st_size, again=0)
    assert next(raised, None) is None


def test_a_blob_that_is_gone_needs_a_new_plan(tmp_path: Path) -> None:
    device = Device(tmp_path, "full")
    device.blob.unlink()
    with pytest.raises(Stale):
        device.fetch()


def test_it_waits_as_long_as_it_is_asked_to(tmp_path: Path) -> None:
    device = Device(tmp_path, "full")
    device.platform.odd = lambda number, r: Response(503, {"Retry-After": "7"}, b"") if number < 3 else r
    device.fetch()
    assert device.waited == [7, 7]
    device.platform.odd = lambda *_: Response(503, {"Retry-After": "soon"}, b"")
    device.again(tmp_path)
    with pytest.raises(Interrupted, match="503"):
        device.fetch()


def test_it_stops_when_it_is_asked_to(tmp_path: Path) -> None:
    device = Device(tmp_path, "full")
    device.stopped = True
    with pytest.raises(Interrupted, match="stop"):
        device.fetch()
    device.stopped = False
    device.fetch()


def test_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(tmp_path, "full")
    monkeypatch.setattr(fetch, "RESERVE", 1 << 60)
    with pytest.raises(StorageFull, match="the update needs"):
        device.fetch()
    assert device.platform.asked == []


def test_a_disk_that_fills_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device, write = Device(tmp_path, "full"), os.pwrite

    def full(handle: int, data: bytes, offset: int) -> int:
        if offset > 500_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, data, offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space") as error:
            device.fetch()
    assert error.value.errno == errno.ENOSPC
    assert device.fetch().counts.sent < device.blob.stat().st_size + 2 * fetch.READ


@pytest.mark.parametrize("path", ["../up", "/etc/passwd", "a/../../b", "", "a\\b", "a\0b", "a/./b"])
def test_paths_that_lead_out(tmp_path: Path, path: str) -> None:
    device = Device(tmp_path, "full")
    device.file = UpdateFile(path=path, size=len(NEW), sha256=device.name)
    with pytest.raises(BadPackage, match="no path within"):
        device.fetch()


@pytest.mark.parametrize("change", [{"size": 5}, {"size": -1}, {"pieces": ()}, {"size": 1 << 60}, {"size": 1 << 21}])
def test_plans_that_contradict_themselves(tmp_path: Path, change: dict[str, object]) -> None:
    device = Device(tmp_path, "full")
    (way,) = device.plan.files[device.name]
    device.plan = TransferPlan(files={device.name: (msgspec.structs.replace(way, **change),)})
    with pytest.raises((BadPackage, StorageFull)):
        device.fetch()


def test_what_a_power_cut_left_is_hashed(tmp_path: Path) -> None:
    device = Device(tmp_path, "full")
    whole = device.blob.read_bytes()
    device.work.mkdir()
    partial = whole[:PIECE] + bytes(PIECE) + whole[2 * PIECE : 3 * PIECE + 100]
    (device.work / device.blob.name).write_bytes(partial)
    counts = device.fetch().counts
    assert counts.sent == len(whole) - 2 * PIECE - 100
    assert device.platform.asked[0][1:] == (PIECE, 2 * PIECE)


CHILD = """
import sys, pathlib, msgspec
from argosy_edge.errors import BadPackage, StorageFull, Unavailable
from argosy_edge.fetch import Fetcher
from argosy_edge.wire import PIECE, TransferPlan, UpdateFile, WireError
from tests.distributions.edge.test_fetch import Platform
root = pathlib.Path(sys.argv[1])
platform = Platform(root / "ways")
def odd(number, response):
    read = response.read1
    def read1(n=-1):
        print(flush=True)
        sys.stdin.readline()
        return read(20_000)
    response.read1 = read1
    return response
platform.odd = odd
plan = msgspec.json.decode(sys.argv[2], type=TransferPlan)
file = msgspec.json.decode(sys.argv[3], type=UpdateFile)
Fetcher(platform, root / "work").fetch([file], plan)
"""


@pytest.mark.slow
def test_kills(tmp_path: Path) -> None:
    device = Device(tmp_path, "full")
    arguments = [str(tmp_path), msgspec.json.encode(device.plan).decode(), msgspec.json.encode(device.file).decode()]
    for reads in (3, 14):
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdin
            assert child.stdout
            for _ in range(reads):
                child.stdout.readline()
                child.stdin.write(b"\n")
                child.stdin.flush()
            child.stdout.readline()
            child.send_signal(signal.SIGKILL)
    assert (device.work / device.blob.name).stat().st_size == 17 * 20_000
    device.fetch()
    assert device.platform.asked[0][1] == 17 * 20_000
