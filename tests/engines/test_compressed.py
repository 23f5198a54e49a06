"""Compressed files: what is inside, and no more of it than a file of its size may hold."""

import bz2
import gzip
import io
import lzma
import zlib
from pathlib import Path

import joblib
import numpy as np
import pytest

from argosy.engines import compressed
from argosy.spec.errors import BadPackage

PACKERS = {
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
}
DATA = np.random.default_rng(0).bytes(20_000).replace(b"\n", b"") * 100 + b"\nend"


@pytest.mark.parametrize("packer", PACKERS)
def test_reads_what_is_inside(packer: str, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(PACKERS[packer](DATA))
    with compressed.open_plain(tmp_path / "m") as file:
        assert file.read(10) == DATA[:10]
        assert file.read(len(DATA) - 14) == DATA[10:-4]
        assert file.readline() == b"\n"
        assert file.read(2) == b"en"
        assert not file.at_end()
        assert file.read() == b"d"
        assert file.at_end()


@pytest.mark.parametrize("packer", PACKERS)
def test_what_follows_and_what_is_cut_off_is_an_error(packer: str, tmp_path: Path) -> None:
    whole = PACKERS[packer](DATA)
    for data in (whole + b"PK\x03\x04", whole[: len(whole) // 2]):
        (tmp_path / "m").write_bytes(data)
        with pytest.raises((OSError, BadPackage)):
            _read_whole(tmp_path / "m")


def _read_whole(path: Path) -> None:
    with compressed.open_plain(path) as file:
        assert len(file.read(len(DATA))) == len(DATA)
        file.at_end()


@pytest.mark.parametrize("packer", PACKERS)
def test_bombs_end_where_the_limit_is(packer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "_FLOOR", 1 << 20)
    monkeypatch.setattr(compressed, "_RATIO", 2)
    (tmp_path / "m").write_bytes(PACKERS[packer](bytes(8 << 20)))
    for count in (-1, 7 << 20):
        with compressed.open_plain(tmp_path / "m") as file, pytest.raises(BadPackage, match="unpacks to more"):
            file.read(count)
    with compressed.open_plain(tmp_path / "m") as file, pytest.raises(BadPackage, match="unpacks to more"):
        file.readline()


def test_no_read_makes_more_than_is_there(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"abc")
    with compressed.open_plain(tmp_path / "m") as file:
        assert not file.fits(4)
        with pytest.raises(BadPackage, match="cut off"):
            file.read(1 << 50)


def test_lzma_that_wants_gigabytes_is_refused(tmp_path: Path) -> None:
    data = bytearray(lzma.compress(b"x" * 100, format=lzma.FORMAT_ALONE))
    data[1:5] = b"\x00\x00\x00\x80"  # the size of its dictionary
    (tmp_path / "m").write_bytes(data)
    with compressed.open_plain(tmp_path / "m") as file, pytest.raises(OSError, match="Memory"):
        file.read(1)


@pytest.mark.parametrize("method", ["zlib", "gzip", "bz2", "lzma", "xz"])
def test_what_joblib_compresses(method: str, tmp_path: Path) -> None:
    plain = io.BytesIO()
    joblib.dump([1, "a"], plain)
    joblib.dump([1, "a"], tmp_path / "m", compress=(method, 3))
    with compressed.open_plain(tmp_path / "m") as file:
        assert file.read() == plain.getvalue()
