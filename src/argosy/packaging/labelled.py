"""Labelled rows as a package answers them: the reference that its performance is estimated from.

Runs in a child process (`quarantine`): the rows are a user's file, and the model may be anything.
"""

from pathlib import Path

import msgspec
import numpy as np

from argosy.packaging.examine import predict_all
from argosy.packaging.load import load
from argosy.packaging.package import open_package
from argosy.packaging.rows import fit
from argosy.packaging.table import Table, infer, missing, read
from argosy.spec.errors import ArgosyError, InvalidArgument, PayloadTooLarge
from argosy.spec.payload import PayloadLog
from argosy.spec.signature import Signature, check_inputs
from argosy.spec.tensor import Array, Tensor
from argosy.store.durable import storage
from argosy.store.payloads.columns import columns
from argosy.store.payloads.encode import Encoder, arrow
from argosy.store.payloads.record import REQUEST, Rows
from argosy.store.payloads.segment import encoded

MOST_BYTES = 256 * 1024 * 1024
MOST_ROWS = 100_000
LEAST_ROWS = 100
MOST_CELLS = 16_000_000
MOST_VALUES = 1000
KINDS = (".parquet", ".csv", ".npz")
SCORED = "scored"
LABEL = "label"
"""The column of what was true, in the file that is made."""


class Labelled(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a file: its rows, those with a label, and those that are kept: drawn at random beyond 100,000, or
    16 million values. `values`: the labels of these, as they are written, with their numbers; up to 1,000 of them."""

    rows: int
    labelled: int
    kept: int
    values: dict[str, int]


class Scoring(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rows of the file `source`, called `name`, with their `label`; the package in `folder` that they are for; and
    the folder `into` which its answers go, as `log` would hold them (empty: nothing is answered)."""

    source: str
    name: str
    label: str
    folder: str
    log: PayloadLog
    into: str
    trusted: bool = False


def score(job: Scoring) -> Labelled:
    """Check the rows against the package, and unless `into` is empty write to `SCORED` in that folder, as Parquet, what
    the log would hold of them beside the labels. What the log hides is left out.

    Raises InvalidArgument, naming what does not fit, PayloadTooLarge, and what loading a package raises.
    """
    name = job.name
    package = open_package(Path(job.folder), trusted=job.trusted)
    signature = package.manifest.signature
    table, true = _split(_read(Path(job.source), name), job.label, name)
    there = ~missing(true)
    if (count := int(there.sum())) < LEAST_ROWS:
        raise InvalidArgument(f"{name} has {count} rows with a label; at least {LEAST_ROWS} are needed")
    width = sum(array.size // max(len(array), 1) for array in table.arrays.values())
    most = min(MOST_ROWS, MOST_CELLS // max(width, 1))
    chosen = np.sort(np.random.default_rng(0).permutation(np.flatnonzero(there))[:most])
    inputs = _inputs(table, chosen, signature, name)
    if job.into:
        model = load(package, threads=1)
        try:
            outputs = [each.array for each in predict_all(model.engine, inputs)]
        finally:
            model.close()
        _write(Path(job.into, SCORED), signature, job.log, inputs, outputs, true[chosen])
    found, counts = np.unique(np.array(_texts(true[chosen])), return_counts=True)
    values = dict(zip(found.tolist()[:MOST_VALUES], counts.tolist(), strict=False))
    return Labelled(rows=len(true), labelled=count, kept=len(chosen), values=values)


def _texts(true: Array) -> list[str]:
    return [each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in true.tolist()]


def _read(path: Path, name: str) -> Table:
    if path.suffix.lower() not in KINDS:
        raise InvalidArgument(f"{name}: a reference is a file of the kind {', '.join(KINDS)}")
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        raise PayloadTooLarge(
            f"{name} has {path.stat().st_size} bytes; a reference has at most {MOST_BYTES}: draw rows at random"
        )
    try:
        return read(path)
    except ArgosyError as error:
        raise type(error)(error.message.replace(path.name, name)) from None


def _split(table: Table, label: str, name: str) -> tuple[Table, Array]:
    if label not in table.arrays:
        known = ", ".join(list(table.arrays)[:20])
        raise InvalidArgument(f"{name} has no column '{label[:80]}' with the labels; it has {known}: see monitor.label")
    rest = {key: array for key, array in table.arrays.items() if key != label}
    true = infer(Table("frame", {label: table.arrays[label]}, table.text)).arrays[label]
    if true.ndim != 1:
        raise InvalidArgument(f"{name}: the labels have the shape {list(true.shape)}; one for each row is needed")
    return Table(table.kind, rest, table.text), true


def _inputs(table: Table, chosen: Array, signature: Signature, name: str) -> list[Tensor]:
    if not signature.batched:
        raise InvalidArgument("a reference is rows, and this model takes no batches of rows")
    some = Table(table.kind, {key: array[chosen] for key, array in table.arrays.items()}, table.text)
    try:
        found = fit(some, signature.inputs)
        check_inputs(signature, found)
    except InvalidArgument as error:
        raise InvalidArgument(f"{name} does not fit the model: {error.message}") from None
    return found


def _write(
    into: Path, signature: Signature, log: PayloadLog, inputs: list[Tensor], outputs: list[Array], true: Array
) -> None:
    pa = arrow()
    shown = tuple(column for column in columns(signature, log) if not column.hashed)
    facts = np.zeros(len(true), REQUEST)
    facts["rows"] = 1
    rows = Rows(
        requests=facts,
        ids=[""] * len(true),
        inputs={each.name: each.array for each in inputs},
        outputs={spec.name: array for spec, array in zip(signature.outputs, outputs, strict=True)},
    )
    made = Encoder(columns=shown, replica="", max_elements=log.max_elements, max_text=log.max_text).table(rows)
    names = [name for name in made.column_names if name.startswith(("input.", "output."))]
    with storage(into.parent):
        into.write_bytes(encoded(made.select(names).append_column(LABEL, pa.array(_texts(true)))))
