"""What an update costs: bytes that a device fetches, for the changes that models see, on magika's network.

    python -m prove.transfer

Each change is a package in a store; the platform plans, a device fetches and assembles. The share is of all bytes that
are sent, the plan among them, in the new file compressed whole by zstd. "Best" is the smallest of methods that are
tried beside the planner's own code. The exit status is 1 where a share is above its goal, or the planner's way more
than 5 % above the best method.
"""

import argparse
import hashlib
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import zstandard
from onnx import numpy_helper

from argosy.cli.output import table
from argosy.edge import transfer
from argosy.edge.delta import Ways, hexed
from argosy.packaging.optimize.recipes import FROZEN, Attempt, attempt
from argosy.protocol import tensorfile
from argosy.spec.tensor import tensor
from argosy.store.layout import Layout
from argosy_edge.fetch import Fetcher
from argosy_edge.wire import TransferPlan, UpdateFile
from argosy_examples.needs import folder_of
from tests.store.samples import FILES, model_manifest, write_folder

GOALS = {
    "metadata": 0.005,
    "last layer": 0.16,
    "scattered 1 %": 0.02,
    "int8, frozen scales": 0.05,
    "all weights by 1e-4": 1.0,
    "all weights by 1e-3": 1.0,
}
"""Of all weights there is no goal but that it is no more than the file."""
BEST = 1.05
PATH = "weights/model.onnx"
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class Row(msgspec.Struct, frozen=True):
    """One change, as it is printed."""

    change: str
    whole: int
    sent: int
    share: str
    goal: str
    way: str
    best: str
    over: str


class Disk:
    """Blobs of the platform, read where they lie."""

    def __init__(self, ways: Ways, package: str) -> None:
        self.ways, self.package = ways, package

    def get(self, path: str, start: int, end: int) -> "Disk.Part":
        with self.ways.blob([self.package], path.removeprefix("blobs/")).open("rb") as file:
            data = file.read()
        return self.Part(start, end, data)

    class Part:
        """A range of a blob."""

        status = 206

        def __init__(self, start: int, end: int, data: bytes) -> None:
            self.range, self.left = f"bytes {start}-{end - 1}/{len(data)}", data[start:end]

        def getheader(self, name: str, default: str = "", /) -> str:
            return self.range if name == "Content-Range" else default

        def read1(self, n: int = -1, /) -> bytes:
            found, self.left = self.left[:n], self.left[n:]
            return found

        def close(self) -> None:
            """Nothing is open."""


def changed(model: Any, change: Change, only: str = "", seed: int = 7) -> bytes:
    """A copy of a model with its weights changed."""
    copy, random = onnx.ModelProto(), np.random.default_rng(seed)
    copy.CopyFrom(model)
    for each in copy.graph.initializer:
        if each.data_type == onnx.TensorProto.FLOAT and only in each.name:
            found = change(numpy_helper.to_array(each), random).astype("f4")
            each.CopyFrom(numpy_helper.from_array(found, each.name))
    return copy.SerializeToString()


def by(size: float) -> Change:
    """All weights differ by about this share."""
    return lambda array, random: array * (1 + size * random.standard_normal(array.shape))


def scattered(array: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return np.where(random.random(array.shape) < 0.01, array * random.normal(1, 0.1, array.shape), array)


def retrained(array: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return random.normal(array.mean(), array.std(), array.shape)


def commented(model: Any) -> bytes:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.producer_name = "retrained on 2026-11-27"
    copy.metadata_props.add(key="approved by", value="ada@example.org, after the review of 26 November")
    return copy.SerializeToString()


def last_layer(model: Any) -> str:
    """The weights that the last product takes."""
    fixed = {each.name for each in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type in ("MatMul", "Gemm") and node.input[1] in fixed]
    return products[-1].input[1]


def quantized(folder: Path, model: bytes, fine: bytes) -> tuple[bytes, bytes]:
    """int8 of a model, and of the fine-tuned one with the scales of the first."""
    (folder / "first.onnx").write_bytes(model)
    (folder / "fine.onnx").write_bytes(fine)
    inputs = onnx.load_from_string(model).graph.input
    shape = [each.dim_value for each in inputs[0].type.tensor_type.shape.dim]
    rows = np.random.default_rng(1).integers(0, 257, (64, *shape[1:])).astype("i4")
    tensorfile.write(folder / "rows.oip", [tensor(inputs[0].name, rows)])
    for name, recipe, scales in (("first", "int8", ""), ("fine", FROZEN, str(folder / "first" / "int8.onnx"))):
        (folder / name).mkdir()
        attempt(
            Attempt(
                recipe=recipe,
                weights=str(folder / f"{name}.onnx"),
                rows=str(folder / "rows.oip"),
                into=str(folder / name),
                scales=scales,
            )
        )
    return (folder / "first" / "int8.onnx").read_bytes(), (folder / "fine" / f"{FROZEN}.onnx").read_bytes()


def changes(folder: Path) -> Iterator[tuple[str, Callable[[], tuple[bytes, bytes]]]]:
    """What changes; what makes the old and the new file."""
    path = folder_of("magika") / "models" / "standard_v3_3" / "model.onnx"
    model = onnx.load(str(path))
    old = model.SerializeToString()
    yield "metadata", lambda: (old, commented(model))
    yield "last layer", lambda: (old, changed(model, retrained, last_layer(model)))
    yield "scattered 1 %", lambda: (old, changed(model, scattered))
    yield "int8, frozen scales", lambda: quantized(folder, old, changed(model, by(1e-3)))
    yield "all weights by 1e-4", lambda: (old, changed(model, by(1e-4)))
    yield "all weights by 1e-3", lambda: (old, changed(model, by(1e-3)))


def best(old: bytes, new: bytes) -> tuple[int, str]:
    """The smallest of what other tools send: zstd whole and as `--patch-from` does it, chunks of three sizes."""
    found = {f"zstd -{level}": len(zstandard.ZstdCompressor(level=level).compress(new)) for level in (3, 19)}
    base = zstandard.ZstdCompressionDict(old, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    for level in (3, 19):
        given = zstandard.ZstdCompressionParameters.from_level(
            level, source_size=len(new), dict_size=len(old), window_log=24, enable_ldm=True
        )
        patch = zstandard.ZstdCompressor(dict_data=base, compression_params=given).compress(new)
        found[f"patch-from -{level}"] = len(patch)
    for size in (4096, 16384, 65536):
        there = set(_chunks(old, size))
        lacking = [each for each in _chunks(new, size) if each not in there]
        compressed = sum(len(zstandard.compress(each, 19)) for each in lacking)
        found[f"chunks of {size // 1024} KiB"] = compressed + len(transfer.ENTRY.pack(b"", 0)) * len(_chunks(new, size))
    return min((size, name) for name, size in found.items())


def _chunks(data: bytes, size: int) -> list[bytes]:
    """Cut by content, with no care for the least and the most."""
    window = np.lib.stride_tricks.sliding_window_view(np.frombuffer(data, "u1"), 16)
    rolling = window.astype("u4") @ np.random.default_rng(3).integers(0, 2**32, 16, "u4")
    ends = (np.flatnonzero(rolling % np.uint32(size) == 0) + 16).tolist()
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True) if start < end]


def sent(folder: Path, old: bytes, new: bytes) -> tuple[int, int, str, int]:
    """Bytes of the file whole; those that a device fetches with its plan; the way; and its bytes alone."""
    layout = Layout(folder / "store")
    packages = []
    for name, data in (("old", old), ("new", new)):
        files = FILES | {PATH: data}
        packages.append(layout.put_folder(write_folder(folder / name, files), manifest=model_manifest()))
    ways = Ways(layout, folder / "ways")
    try:
        plan = msgspec.json.encode(ways.plan(packages[1], [packages[0]], 600))
        files = [
            UpdateFile(path=path, size=each.size, sha256=hexed(each))
            for path, each in layout.files(packages[1]).items()
        ]
        have = {
            hashlib.sha256(path.read_bytes()).hexdigest(): path
            for path in (folder / "old").rglob("*")
            if path.is_file()
        }
        fetcher = Fetcher(Disk(ways, packages[1]), folder / "device")
        fetcher.fetch(files, decoded := msgspec.json.decode(plan, type=TransferPlan), have)
        fetcher.assemble(files, folder / "slot", have)
        assert (folder / "slot" / PATH).read_bytes() == new
        (several,) = decoded.files.values()
        whole = next(way.bytes for way in several if way.kind == "full")
        return whole, fetcher.counts.sent + len(plan), several[0].kind, several[0].bytes
    finally:
        ways.close()


def prove(folder: Path, wanted: Sequence[str]) -> bool:
    """Whether all of it holds."""
    rows: list[Row] = []
    met = True
    for name, made in changes(folder):
        if wanted and name not in wanted:
            continue
        old, new = made()
        (place := folder / name.replace(" ", "-")).mkdir()
        whole, bytes_, kind, alone = sent(place, old, new)
        size, method = best(old, new)
        good = bytes_ <= GOALS[name] * whole and alone <= BEST * size
        met = met and good
        share, goal = f"{bytes_ / whole:.2%}", f"{GOALS[name]:.1%}"
        rows.append(Row(name, whole, bytes_, share, goal, kind, f"{method}: {size}", f"{alone / size - 1:+.1%}"))
        print(f"{'met   ' if good else 'missed'}  {name}: {share} of {whole:,} bytes", flush=True)
    table(Row.__struct_fields__, [msgspec.structs.astuple(row) for row in rows])
    return met


def main() -> int:
    """0 where all holds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--changes", default="", help=f"of {', '.join(GOALS)}; all of them without")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # onnxruntime's, on how to quantize
    with tempfile.TemporaryDirectory(prefix="pt") as folder:
        return 0 if prove(Path(folder), [each for each in options.changes.split(",") if each]) else 1


if __name__ == "__main__":
    sys.exit(main())
