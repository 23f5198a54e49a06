"""What a model says of itself when it runs: its signature, golden outputs, predictions for the sample, their profile.

All of it happens in one child process (`quarantine`), which leaves its findings as files.
"""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from argosy.engines import Engine
from argosy.engines import load as load_engine
from argosy.engines.probe import rows_independent
from argosy.packaging import domain, golden, mlmodel, profile, table
from argosy.packaging.compare import CHUNK, predict
from argosy.packaging.rows import fit
from argosy.packaging.table import Table, infer, missing
from argosy.protocol import tensorfile
from argosy.spec.errors import ArgosyError, BadPackage, GoldenMismatch, InvalidArgument
from argosy.spec.package import Tolerance
from argosy.spec.signature import Signature, TensorSpec, check_inputs
from argosy.spec.tensor import Array, Tensor, datatype_of

MAX_COLUMNS = 10_000


def from_table(table: Table, *, apart: bool = False) -> tuple[TensorSpec, ...]:
    """Inputs that hold this sample. Columns of numbers become one tensor `x` of shape [-1, n] that names them, unless
    they are to stay `apart`; columns of several kinds become one tensor [-1] each; an array becomes `x`; tensors keep
    their names. Axis 0 is free."""
    table = infer(table)
    if len(table.arrays) > MAX_COLUMNS:
        raise InvalidArgument(f"the sample has {len(table.arrays)} columns; at most {MAX_COLUMNS} are taken")
    if table.kind == "frame" and is_numeric(table) and not apart:
        arrays = table.arrays.values()
        single = all(array.dtype.kind == "f" and array.dtype.itemsize <= 4 for array in arrays)
        shape, names = (-1, len(arrays)), tuple(table.arrays)
        gaps = any(missing(array).any() for array in arrays)
        datatype = "FP32" if single else "FP64"
        return (TensorSpec(name="x", datatype=datatype, shape=shape, columns=names, nullable=gaps),)
    return tuple(
        TensorSpec(
            name=name or "x",
            datatype=datatype_of(array),
            shape=(-1, *array.shape[1:]),
            nullable=bool(missing(array).any()),
            semantic="categorical" if datatype_of(array) == "BYTES" else "",
        )
        for name, array in table.arrays.items()
    )


def is_numeric(table: Table) -> bool:
    """Whether every column holds integers or floats, one in each row, so that they can lie side by side."""
    return all(array.dtype.kind in "iuf" and array.ndim == 1 for array in infer(table).arrays.values())


MAX_ROWS = 10_000
"""Rows of the sample that are predicted, profiled and compared after a conversion: spread over all of it."""

MAX_SAMPLE = 512 * 1024 * 1024
"""Bytes of the sample in those rows, at most."""

FRAMES = ("sklearn", "python")
"""Engines that may have been trained on columns of several kinds."""

NAMED = ("onnx", "mlflow", "encoder")
"""Engines whose models name their inputs."""

FLEXIBLE = ("sklearn", "python", "mlflow", "torch")
"""Engines that can learn their inputs from the sample."""

ASKED = ("sklearn", "python", "mlflow")
"""Engines whose models are asked whether a value may be missing."""

CONVERTED = ("sklearn", "lightgbm", "xgboost")
"""Engines whose models become ONNX where that answers the same."""

UNCHECKED = ("onnx", "torch", "python", "mlflow")
"""Engines whose models may answer a missing number that nobody trained them on, or fail at it."""

SAMPLE, PREDICTIONS, GOLDEN_IN, GOLDEN_OUT, PROFILE = (
    "sample.oip",
    "predictions.oip",
    "golden_inputs.oip",
    "golden_outputs.oip",
    "profile.json",
)


class Task(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which model to examine, with which sample (a path, or none), and the folder for the findings. `signature`: what
    was found, for a conversion."""

    engine: str
    weights: str
    settings: dict[str, str | int | float | bool]
    sample: str
    tolerance: Tolerance
    into: str
    trusted: bool = False
    signature: Signature | None = None


class Findings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was found besides the files: the signature, the number of golden rows, and of rows of the sample, and what
    the sample names an input that the engine had to name itself."""

    signature: Signature
    golden_rows: int
    sample_rows: int
    sample_names: tuple[str, ...] = ()


def examine(task: Task) -> Findings:
    """Load the model, run it, write SAMPLE, PREDICTIONS, GOLDEN_IN, GOLDEN_OUT and PROFILE into the folder `into`.
    Raises InvalidArgument for a sample that does not fit, BadPackage for a model that fails or is not deterministic."""
    if task.sample:
        rows = table.read(Path(task.sample))
    else:
        rows = mlmodel.example(Path(task.weights)) if task.engine == "mlflow" else None
    engine, tensors = open_model(task, rows)
    if task.engine in ASKED:
        _find_nullable(engine, tensors)
    if tensors and engine.signature.batched:
        feeds = {tensor.name: tensor.array for tensor in tensors}
        engine.use(domain.by_sample(engine.signature, feeds, refuse=task.engine in UNCHECKED))
    into = Path(task.into)
    predictions: list[Tensor] = []
    if tensors:
        count = rows_in(tensors)
        most = max(1, min(MAX_ROWS, MAX_SAMPLE // _row_bytes(tensors)))
        if count > most:
            tensors = take(tensors, np.linspace(0, count - 1, most, dtype=int).tolist())
        predictions = predict_all(engine, tensors)
        found = profile.profile(tensors, predictions, engine.signature.inputs, engine.signature.outputs)
        (into / PROFILE).write_bytes(profile.dump(found))
        if task.engine in CONVERTED:
            tensorfile.write(into / SAMPLE, tensors)
            tensorfile.write(into / PREDICTIONS, predictions)
    inputs, outputs = _golden(engine, tensors, task.tolerance)
    tensorfile.write(into / GOLDEN_IN, inputs)
    tensorfile.write(into / GOLDEN_OUT, outputs)
    count = len(inputs[0].array) if engine.signature.batched else 1
    unnamed = rows is not None and rows.kind == "tensors" and task.engine not in NAMED and len(rows.arrays) == 1
    return Findings(
        signature=engine.signature,
        golden_rows=count,
        sample_rows=rows_in(tensors) if tensors else 0,
        sample_names=tuple(rows.arrays) if rows is not None and unnamed else (),
    )


def _find_nullable(engine: Engine, sample: list[Tensor]) -> None:
    """Whether values may be missing, the model knows better than its sample."""
    rows = sample or golden.make_accepted(engine.signature.inputs, engine.signature.batched, engine.predict)
    feeds = {tensor.name: tensor.array for tensor in rows}
    with contextlib.suppress(ArgosyError):  # a first row that it refuses is for others to tell
        domain.set_nullable(engine, feeds)


def open_model(task: Task, rows: Table | None) -> tuple[Engine, list[Tensor]]:
    """The engine with a complete signature, and the sample as tensors of it (none without a sample). The model's own
    word comes first; the sample decides where the model has none, or where it has columns of several kinds."""
    if rows is None:
        return _load(task, None), []
    try:
        engine = _load(task, None)
    except InvalidArgument:
        if task.engine not in FLEXIBLE:
            raise
        return _open_by_sample(task, rows)
    mixed = rows.kind == "frame" and not is_numeric(rows)
    if task.engine in FRAMES and mixed and len(engine.signature.inputs) == 1:
        return _open_by_sample(task, rows)
    engine.signature = _with_sample(engine.signature, rows)
    return engine, fit_sample(rows, engine.signature)


def _open_by_sample(task: Task, rows: Table) -> tuple[Engine, list[Tensor]]:
    try:
        return _open_as(task, rows, from_table(rows))
    except InvalidArgument:
        if task.engine != "sklearn" or rows.kind != "frame" or not is_numeric(rows):
            raise
        with contextlib.suppress(InvalidArgument):  # a step of somebody's own may want a data frame
            return _open_as(task, rows, from_table(rows, apart=True))
        raise


def _open_as(task: Task, rows: Table, inputs: tuple[TensorSpec, ...]) -> tuple[Engine, list[Tensor]]:
    tensors = fit(table.infer(rows), inputs)
    few = {tensor.name: tensor.array[:CHUNK] for tensor in tensors}
    return _load(task, Signature(inputs=inputs, outputs=()), few), tensors


def _load(task: Task, known: Signature | None, sample: Mapping[str, Array] | None = None) -> Engine:
    return load_engine(
        task.engine,
        Path(task.weights),
        signature=known,
        settings=task.settings,
        threads=1,
        sample=sample,
        trusted=task.trusted,
    )


def _with_sample(known: Signature, rows: Table) -> Signature:
    """The engine's signature, completed by what only the sample shows: names of the columns."""
    if rows.kind != "frame" or len(known.inputs) != 1:
        return known
    spec = known.inputs[0]
    names = tuple(rows.arrays)
    if spec.columns or len(spec.shape) != 2 or spec.shape[1] != len(names) or spec.name in names:
        return known
    return msgspec.structs.replace(known, inputs=(msgspec.structs.replace(spec, columns=names),))


def fit_sample(rows: Table, known: Signature) -> list[Tensor]:
    """The sample as inputs of the signature. Raises InvalidArgument showing both sides where it does not fit."""
    try:
        tensors = fit(rows, known.inputs, lenient=True)
        check_inputs(known, tensors)
    except ArgosyError as error:
        takes = ", ".join(f"{spec.name} {spec.datatype} {list(spec.shape)}" for spec in known.inputs[:8])
        names, more = list(rows.arrays), ", …" if len(rows.arrays) > 8 else ""
        has = f"{rows.rows} rows of the columns {', '.join(names[:8])}{more}"
        if rows.kind != "frame":
            has = ", ".join(
                f"{name or 'an array'} {each.dtype} {list(each.shape)}" for name, each in rows.arrays.items()
            )
        raise InvalidArgument(
            f"the sample does not fit the model: {error.message} (the model takes {takes}; the sample has {has})"
        ) from None
    return tensors


def _row_bytes(tensors: Sequence[Tensor]) -> int:
    return max(1, sum(tensor.array.nbytes for tensor in tensors) // max(rows_in(tensors), 1))


def rows_in(tensors: Sequence[Tensor]) -> int:
    """The length of axis 0, which all have; else they are one example, as of a model that keeps a state."""
    lengths = {tensor.array.shape[:1] for tensor in tensors}
    return lengths.pop()[0] if len(lengths) == 1 and () not in lengths else 1


def take(tensors: Sequence[Tensor], rows: Sequence[int]) -> list[Tensor]:
    """The same tensors, of these rows only."""
    return [Tensor(tensor.name, tensor.datatype, tensor.array[list(rows)]) for tensor in tensors]


def predict_all(engine: Engine, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The engine's answers for all rows of a sample. Raises BadPackage where the model fails."""
    try:
        arrays = predict(engine, {tensor.name: tensor.array for tensor in tensors})
    except ArgosyError as error:
        raise BadPackage(f"the model fails on its sample: {error.message}") from None
    return _as_tensors(engine, arrays)


def _as_tensors(engine: Engine, arrays: Sequence[Array]) -> list[Tensor]:
    specs = engine.signature.every_output[: len(arrays)]
    return [Tensor(spec.name, spec.datatype, array) for spec, array in zip(specs, arrays, strict=True)]


def _golden(engine: Engine, sample: list[Tensor], tolerance: Tolerance) -> tuple[list[Tensor], list[Tensor]]:
    if sample:
        count = max(1, min(golden.COUNT, golden.MAX_BYTES // _row_bytes(sample)))
        inputs = take(sample, golden.choose(sample, count)) if engine.signature.batched else sample
    elif engine.examples is not None:
        inputs = [Tensor(spec.name, spec.datatype, engine.examples[spec.name]) for spec in engine.signature.inputs]
    else:
        inputs = golden.make_accepted(engine.signature.inputs, engine.signature.batched, engine.predict)
    outputs = _as_tensors(engine, golden.answers(engine, inputs))
    try:
        golden.compare(outputs, golden.answers(engine, inputs), tolerance)
    except GoldenMismatch as error:
        raise BadPackage(
            f"the model is not deterministic: asked twice the same, it differs at {error.message}. "
            "Fix its seed, or allow the difference with a tolerance"
        ) from None
    if engine.signature.batched:  # a model whose answer depends on the rows beside must not have requests merged
        try:
            golden.replay(engine, inputs, outputs, tolerance)
            alone = rows_independent(engine)
        except BadPackage:
            alone = False
        if not alone:
            engine.signature = msgspec.structs.replace(engine.signature, batched=False)
    return inputs, outputs
