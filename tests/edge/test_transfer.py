"""Formats of transfers: what is made of a file comes out as that file, and nothing else does."""

import hashlib
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zstandard

from argosy.edge import delta, transfer
from argosy.edge.delta import Making
from argosy.edge.transfer import HEAD, PATCH, Piece
from argosy.edge.wire import Transfer, UpdateFile
from argosy_edge import assemble
from argosy_edge import transfer as received
from argosy_edge.wire import WireError

RANDOM = np.random.default_rng(7)
OLD = RANDOM.standard_normal(12_000).astype("f4").tobytes()
NEAR = (np.frombuffer(OLD, "f4") * np.float32(1.0001)).tobytes()
FEW = np.where(RANDOM.random(12_000) < 0.01, np.float32(7), np.frombuffer(OLD, "f4")).tobytes()
PAIRS = {
    "same": (OLD, OLD),
    "inserted": (OLD, b"metadata" * 10 + OLD),
    "shorter": (OLD, OLD[1000:]),
    "near": (OLD, NEAR),
    "near and inserted": (OLD, b"abc" + NEAR),
    "few": (OLD, FEW),
    "empty": (OLD, b""),
    "of nothing": (b"", FEW),
    "one byte": (b"a", b"b"),
}


def file_of(data: bytes) -> UpdateFile:
    return UpdateFile(path="weights/model.onnx", size=len(data), sha256=hashlib.sha256(data).hexdigest())


def made(folder: Path, kind: str, new: bytes, old: bytes | None = None) -> tuple[Transfer, Path]:
    """A way to `new`, and where its blob is."""
    (folder / "new").write_bytes(new)
    (folder / "old").write_bytes(old or b"")
    base = {"old": str(folder / "old"), "base": hashlib.sha256(old).hexdigest()} if old is not None else {}
    job = Making(kind=kind, new=str(folder / "new"), sha256=file_of(new).sha256, into=str(folder / "ways"), **base)
    way = delta.make(job)
    return way, folder / "ways" / way.blob


@pytest.mark.parametrize("pair", PAIRS)
def test_ways_lead_to_the_file(tmp_path: Path, pair: str) -> None:
    old, new = PAIRS[pair]
    for kind, base in (("full", None), ("patch", old)):
        way, blob = made(tmp_path, kind, new, base)
        assemble.apply(way, blob, tmp_path / "out", file_of(new), tmp_path / "old" if base is not None else None)
        assert (tmp_path / "out").read_bytes() == new, kind
        assert way.size == way.bytes == blob.stat().st_size


def test_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (assemble, delta):
        monkeypatch.setattr(module, "SEGMENT", 30_000)
    for module in (transfer, received, delta):
        monkeypatch.setattr(module, "MARGIN", 10_000)
    for old, new in PAIRS.values():
        way, blob = made(tmp_path, "patch", new, old)
        assemble.apply(way, blob, tmp_path / "out", file_of(new), tmp_path / "old")
        assert (tmp_path / "out").read_bytes() == new


def test_small_changes_are_small_patches(tmp_path: Path) -> None:
    whole = made(tmp_path, "full", OLD)[0].bytes
    sizes = {pair: made(tmp_path, "patch", *PAIRS[pair][::-1])[0].bytes / whole for pair in PAIRS}
    assert max(sizes["same"], sizes["inserted"], sizes["shorter"]) < 0.01
    assert sizes["few"] < 0.05
    assert max(sizes["near"], sizes["near and inserted"]) < 0.6


def test_every_cut_patch_is_refused(tmp_path: Path) -> None:
    way, blob = made(tmp_path, "patch", FEW, OLD)
    whole = blob.read_bytes()
    for size in (0, 4, 8, 12, 30, len(whole) // 2, len(whole) - 1):
        blob.write_bytes(whole[:size])
        with pytest.raises(WireError):
            assemble.apply(way, blob, tmp_path / "out", file_of(FEW), tmp_path / "old")
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["full", "patch"])
def test_every_altered_byte_is_refused(tmp_path: Path, kind: str) -> None:
    new = FEW[:4000]
    way, blob = made(tmp_path, kind, new, OLD[:4000] if kind == "patch" else None)
    whole = blob.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 60)):
        blob.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            assemble.apply(way, blob, tmp_path / "out", file_of(new), tmp_path / "old" if way.base else None)
        except WireError:
            assert not (tmp_path / "out").exists()
        else:  # a bit that zstd does not look at
            assert (tmp_path / "out").read_bytes() == new


def test_bombs(tmp_path: Path) -> None:
    file, blob, zeros = file_of(bytes(1000)), tmp_path / "blob", zstandard.compress(bytes(50_000_000))
    forged = bytearray(zstandard.compress(bytes(1000)))
    ways = {
        "full": zeros,
        "patch": PATCH + HEAD.pack(0, 0, len(zeros)) + zeros,
        "planes": PATCH + HEAD.pack(4, 0, len(zeros)) + zeros,
        "length": PATCH + HEAD.pack(0, 0, 1 << 31) + zeros,
        "planes that are none": PATCH + HEAD.pack(3, 0, len(forged)) + forged,
        "more": PATCH + HEAD.pack(0, 0, len(forged)) + forged + zeros,
    }
    (tmp_path / "old").write_bytes(b"")
    for kind, data in ways.items():
        blob.write_bytes(data)
        way = Transfer(kind="full" if kind == "full" else "patch", bytes=0, blob="0" * 64, size=len(data))
        with pytest.raises(WireError):
            assemble.apply(way, blob, tmp_path / "out", file, tmp_path / "old")
        assert not (tmp_path / "out").exists()


def test_another_base_is_refused(tmp_path: Path) -> None:
    way, blob = made(tmp_path, "patch", FEW, OLD)
    (tmp_path / "other").write_bytes(NEAR)
    with pytest.raises(WireError):
        assemble.apply(way, blob, tmp_path / "out", file_of(FEW), tmp_path / "other")
    with pytest.raises(WireError, match="needs a file"):
        assemble.apply(way, blob, tmp_path / "out", file_of(FEW))


def test_chunks_move_with_what_is_inserted() -> None:
    data = RANDOM.bytes(3_000_000)
    before = [piece for _, piece in transfer.chunked(memoryview(data))]
    after = [piece for _, piece in transfer.chunked(memoryview(b"metadata" + data))]
    assert sum(piece.size for piece in before) == len(data)
    assert all(piece.size <= transfer.MOST for piece in before)
    assert all(piece.size >= transfer.LEAST for piece in before[:-1])
    assert 14_000 < len(data) / len(before) < 40_000
    assert sum(piece.size for piece in after if piece not in before) < 150_000


def test_chunks_are_part_of_the_format() -> None:
    """As whoever reads it byte by byte cuts."""
    data = b"".join(hashlib.sha256(at.to_bytes(2, "big")).digest() for at in range(5000))
    gear = [int.from_bytes(hashlib.sha256(bytes([at])).digest()[:4], "big") for at in range(256)]
    ends, begun, rolling = [], 0, 0
    for end, byte in enumerate(data, 1):
        rolling = ((rolling << 1) + gear[byte]) % 2**32
        size, zeros = end - begun, 32 - rolling.bit_length()
        if size == 65536 or (size >= 16384 and zeros >= 13) or (size >= 4096 and zeros >= 16):
            ends.append(begun := end)
    assert transfer.cuts(memoryview(data)) == [*ends, len(data)]
    assert ends[:4] == [8346, 23119, 33308, 53491]
    assert transfer.cuts(memoryview(b"")) == []
    assert transfer.cuts(memoryview(b"a")) == [1]


def test_a_list_of_chunks_that_does_not_fit() -> None:
    pieces = [Piece("ab" * 32, 5000), Piece("cd" * 32, 3000)]
    file = UpdateFile(path="model", size=8000, sha256="0" * 64)
    assert assemble.chunks_of(transfer.listed(pieces), file) == pieces
    for odd in (pieces[:1], [*pieces, Piece("ef" * 32, 0)], [Piece("ab" * 32, 80_000_000)]):
        with pytest.raises(WireError):
            assemble.chunks_of(transfer.listed(odd), file)
    with pytest.raises(WireError, match="ends within"):
        assemble.chunks_of(transfer.listed(pieces)[:-1], file)


BOUNDED = """
import resource, sys
from pathlib import Path
import msgspec, numpy, zstandard
from argosy_edge import assemble
from argosy_edge import transfer as received
from argosy_edge.wire import Transfer, UpdateFile
used = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (used + 40_000_000,) * 2)
root = Path(sys.argv[1])
way, file = (msgspec.json.decode(each, type=kind) for each, kind in zip(sys.argv[2:], (Transfer, UpdateFile)))
assemble.apply(way, root / "ways" / way.blob, root / "out", file, root / "old")
assemble.spans([root / "old"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full", "patch"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(delta, "LARGE", 0)
    monkeypatch.setattr(delta, "FAST", 1)
    old = RANDOM.bytes(70_000_000)
    new = b"metadata" + old[:30_000_000] + RANDOM.bytes(5_000_000) + old[35_000_000:]
    way, _ = made(tmp_path, kind, new, old if kind == "patch" else None)
    (tmp_path / "old").write_bytes(old)
    given = [msgspec.json.encode(each).decode() for each in (way, file_of(new))]
    subprocess.run([sys.executable, "-c", BOUNDED, tmp_path, *given], check=True)
    assert transfer.hashed(tmp_path / "out") == file_of(new).sha256
    assert kind == "full" or way.bytes < 6_000_000
