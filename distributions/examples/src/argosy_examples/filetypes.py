"""File types: magika's network from an ONNX file, on real files of this machine.

Model: `standard_v3_3` of the package `magika` (Apache-2.0). It takes the first and the last kilobyte of a file.
"""

import os
import random
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from argosy.packaging.options import PushOptions
from argosy.spec.errors import Unavailable
from argosy.spec.tensor import Array, tensor
from argosy_examples.case import Case, Score
from argosy_examples.needs import folder_of, require

KINDS = {
    ".c": "c",
    ".css": "css",
    ".csv": "csv",
    ".f90": "fortran",
    ".gif": "gif",
    ".gz": "gzip",
    ".html": "html",
    ".js": "javascript",
    ".json": "json",
    ".lua": "lua",
    ".npz": "npz",
    ".onnx": "onnx",
    ".pdf": "pdf",
    ".png": "png",
    ".ps1": "powershell",
    ".py": "python",
    ".sh": "shell",
    ".so": "elf",
    ".svg": "svg",
    ".toml": "toml",
    ".ttf": "ttf",
    ".xml": "xml",
    ".yaml": "yaml",
    ".zip": "zip",
}
"""Endings that leave no doubt about a file's content, and magika's word for it."""
EACH = 8
LEAST = 50
MOST = 10_000
SEED = 7
FLOOR = 0.9
AGREEMENT = 0.995


class Recipe(msgspec.Struct, frozen=True):
    """What of magika's `config.min.json` says how files become numbers, and numbers labels."""

    beg_size: int
    end_size: int
    block_size: int
    padding_token: int
    min_file_size_for_dl: int
    target_labels_space: tuple[str, ...]


def prepare(folder: Path, report: Callable[[str], None]) -> Case:
    """Find files of known kinds on this machine and make them what the network takes."""
    model = folder_of("magika") / "models" / "standard_v3_3"
    recipe = msgspec.json.decode((model / "config.min.json").read_bytes(), type=Recipe)
    report("looking for files of known kinds on this machine")
    files = [(path, kind, row) for path, kind in pick(found(roots())) if (row := features(path, recipe)) is not None]
    if len(files) < LEAST:
        raise Unavailable(f"the demo found {len(files)} files of known kinds on this machine; it needs {LEAST}")
    paths, kinds, rows = zip(*files, strict=True)
    sample = folder / "filetypes.npy"
    np.save(sample, np.stack(rows[:: len(rows) // 50]))
    return Case(
        name="filetypes",
        about=f"magika's ONNX network, {len(set(kinds))} kinds of files",
        source=model / "model.onnx",
        options=PushOptions(sample=sample, license="Apache-2.0", description="magika standard_v3_3: file types"),
        inputs=(tensor("bytes", np.stack(rows)),),
        judge=partial(judge, kinds=kinds, paths=paths, labels=recipe.target_labels_space),
        form="binary",
        connections=4,
    )


def roots() -> list[Path]:
    """Where programs, libraries and their documents lie."""
    own = [Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib")]
    return list(dict.fromkeys([*own, Path("/usr/share"), Path("/usr/lib"), Path("/usr/local"), Path("/opt")]))


def found(places: Sequence[Path], most: int = MOST) -> dict[str, list[Path]]:
    """Files under the places by their kind, among the first `most` of each place: the same files every time.

    Compiled modules do not count, as they come and go.
    """
    files: dict[str, list[Path]] = {}
    for place in places:
        for path in islice(_walk(place), most):
            if (kind := KINDS.get(path.suffix)) is not None:
                files.setdefault(kind, []).append(path)
    return files


def _walk(place: Path) -> Iterator[Path]:
    for folder, inner, names in os.walk(place):
        inner[:] = sorted(set(inner) - {"__pycache__"})
        yield from (Path(folder, name) for name in sorted(names))


def pick(files: Mapping[str, Sequence[Path]]) -> list[tuple[Path, str]]:
    """At most `EACH` files of a kind, chosen at random by a fixed seed, with their kinds."""
    chance = random.Random(SEED)
    chosen = [(path, kind) for kind in sorted(files) for path in sorted(set(files[kind]))]
    chance.shuffle(chosen)
    left = dict.fromkeys(files, EACH)
    out: list[tuple[Path, str]] = []
    for path, kind in chosen:
        if left[kind] and path.is_file() and os.access(path, os.R_OK):
            left[kind] -= 1
            out.append((path, kind))
    return out


def features(path: Path, recipe: Recipe) -> Array | None:
    """The row of a file, int32 [beg_size + end_size]; None for one too small for the network.

    The first block without leading whitespace, cut or padded at its end; the last block without trailing whitespace,
    cut or padded at its beginning: as magika's `_extract_features_from_seekable` has it.
    """
    size = path.stat().st_size
    block = min(recipe.block_size, size)
    with path.open("rb") as file:
        first = file.read(block).lstrip()[: recipe.beg_size]
        file.seek(size - block)
        last = file.read(block).rstrip()[-recipe.end_size :]
    if len(first) < recipe.min_file_size_for_dl:
        return None
    row = np.full(recipe.beg_size + recipe.end_size, recipe.padding_token, "i4")
    row[: len(first)] = np.frombuffer(first, "u1")
    if last:
        row[-len(last) :] = np.frombuffer(last, "u1")
    return row


def judge(outputs: Mapping[str, Array], kinds: Sequence[str], paths: Sequence[Path], labels: Sequence[str]) -> Score:
    """The share of files whose kind is found, and of those where magika itself says the same."""
    answers = [labels[place] for place in outputs["target_label"].argmax(axis=1)]
    right = sum(answer == kind for answer, kind in zip(answers, kinds, strict=True)) / len(answers)
    agreed = sum(answer == own for answer, own in zip(answers, opinions(paths), strict=True)) / len(answers)
    note = f"{agreed:.1%} of answers are magika's own"
    return Score(measure="accuracy", value=right, floor=FLOOR, note=note, agrees=agreed >= AGREEMENT)


def opinions(paths: Sequence[Path]) -> list[str]:
    """What the network says of each file when the package `magika` asks it."""
    magika: Any = require("magika")
    return [str(result.prediction.dl.label) for result in magika.Magika().identify_paths(paths)]
