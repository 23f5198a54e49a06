"""Which columns of the files become which inputs of the model, and the way from one to the other.

Values are cast by the rules of `packaging.rows`, so that a row gives the same tensors here as it does online. A column
that has its type already is handed to the engine as it lies in Arrow's memory.
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from argosy.batch.answers import Answers
from argosy.batch.sink import partition
from argosy.batch.source.shape import LOOSE, MATRIX, READING, Reading, arrow
from argosy.batch.tensors import array_of, check_type, item_type, read_as, widens
from argosy.packaging.rows import cast_array, listed, shaped
from argosy.spec.batch import BatchJob
from argosy.spec.errors import InvalidArgument, Unsupported
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import NUMPY, Array


class _Input(NamedTuple):
    """An input and the columns it is made of: one, or as many as it has features, side by side."""

    spec: TensorSpec
    columns: tuple[str, ...]
    stacked: bool


class Mapping:
    """From record batches of the input to the inputs of a model, and from its outputs to batches of the job's output.

    `reads` is the schema of the columns that are read of each file, `schema` that of the output.
    """

    def __init__(self, inputs: Sequence[_Input], reads: Any, keep: Sequence[str], answers: Answers):
        self.inputs, self.reads = tuple(inputs), reads
        self.keep, self.answers = tuple(keep), answers
        self.schema: Any = arrow().schema([*(reads.field(name) for name in keep), *answers.fields])

    def feeds(self, batch: Any) -> dict[str, Array]:
        """The arrays by input name. Raises InvalidArgument naming the column and row (of the batch) that do not fit."""
        return {one.spec.name: shaped(one.spec, _array(batch, one)) for one in self.inputs}

    def rows(self, batch: Any, outputs: Sequence[Array]) -> Any:
        """The columns to keep of these rows and what the model answered, as a batch of `schema`."""
        columns = [batch.column(batch.schema.get_field_index(name)) for name in self.keep]
        return arrow().RecordBatch.from_arrays([*columns, *self.answers.columns(outputs)], schema=self.schema)

    def unused(self, schema: Any) -> list[str]:
        """The columns of a file that nothing asks for."""
        return [name for name in schema.names if self.reads.get_field_index(name) < 0]

    def check(self, schema: Any, url: str) -> None:
        """Raise InvalidArgument or Unsupported unless a further file has the columns that are read, in types that can
        become those of the first file without loss."""
        for field in self.reads:
            place = schema.get_field_index(field.name)
            if place < 0:
                raise InvalidArgument(f"{url} lacks the column '{field.name}', which the files before it have")
            other = read_as(schema.field(place).type)
            if not (
                _loose(schema) or other == field.type or (field.name not in self.keep and widens(other, field.type))
            ):
                raise InvalidArgument(
                    f"{url} has the column '{field.name}' as {other}, the first file as {field.type}: files of one job "
                    "need one type"
                )


def plan(signature: Signature, schema: Any, job: BatchJob) -> Mapping:
    """How the columns of a file fit the signature. Raises InvalidArgument, Unsupported."""
    if not signature.batched:
        raise Unsupported("the model does not answer rows independently of one another: batch needs one that does")
    _check_map(signature, schema, job)
    given = list(signature.inputs)
    inputs = [found for spec in given if (found := _input(spec, len(given) == 1, schema, job)) is not None]
    answers = Answers(signature.chosen(job.outputs), job.format)
    keep = passed_on(schema, job, [field.name for field in answers.fields])
    types: dict[str, Any] = {name: read_as(schema.field(name).type) for name in keep}
    for one in inputs:
        for name in one.columns:
            kind = schema.field(name).type
            if _loose(schema) and (name not in types or one.spec.datatype == "BYTES"):
                kind = types[name] = read_as(kind, one.spec)
            check_type(name, kind, one.spec, whole=not one.stacked)
            types.setdefault(name, read_as(kind))
    pa = arrow()
    reads = pa.schema([pa.field(name, types[name]) for name in schema.names if name in types])
    if _loose(schema):
        how = Reading(nulls=job.nulls, exact=tuple(keep))
        reads = reads.with_metadata({LOOSE: b"1", READING: msgspec.json.encode(how)})
    mapping = Mapping(inputs, reads, keep, answers)
    if job.partition:
        partition.check(mapping.schema, job.partition)
    return mapping


def _loose(schema: Any) -> bool:
    return LOOSE in (schema.metadata or {})


def _check_map(signature: Signature, schema: Any, job: BatchJob) -> None:
    known = [name for spec in signature.inputs for name in (spec.name, *spec.columns)]
    for name, column in job.map.items():
        if name not in known:
            raise InvalidArgument(f"map: '{name}' is no input of the model{_near(name, known)}")
        if column not in schema.names:
            raise InvalidArgument(f"map: the files have no column '{column}'{_near(column, schema.names)}")


def _input(spec: TensorSpec, alone: bool, schema: Any, job: BatchJob) -> _Input | None:
    """Where an input comes from; None for an optional one that the file does not have."""
    column = job.map.get(spec.name, spec.name)
    if alone and column not in schema.names:
        column = _only(spec, schema, job) or column
    if column in schema.names and not (spec.columns and item_type(schema.field(column).type) is None):
        return _Input(spec, (column,), stacked=False)
    if spec.columns:
        return _features(spec, [job.map.get(name, name) for name in spec.columns], schema)
    if alone and len(spec.shape) == 2:
        return _wide(spec, schema, job)
    if spec.optional:
        return None
    raise InvalidArgument(f"the files have no column '{column}', which the model takes{_near(column, schema.names)}")


def _only(spec: TensorSpec, schema: Any, job: BatchJob) -> str | None:
    """The column of a file that can be nothing else than the only input: a matrix, or all but those to keep."""
    names = [name for name in schema.names if name not in (*job.keep, *job.partition)]
    if MATRIX in (schema.metadata or {}):
        return schema.names[0]
    if len(names) != 1 or names[0] in spec.columns or spec.name in job.map:
        return None
    return names[0] if len(spec.shape) == 1 or item_type(schema.field(names[0]).type) is not None else None


def _features(spec: TensorSpec, names: Sequence[str], schema: Any) -> _Input | None:
    absent = [name for name in names if name not in schema.names]
    if absent and spec.optional and len(absent) == len(names):
        return None
    if absent:
        raise InvalidArgument(f"the files lack {listed(absent)} of the model's columns{_near(absent[0], schema.names)}")
    return _Input(spec, tuple(names), stacked=True)


def _wide(spec: TensorSpec, schema: Any, job: BatchJob) -> _Input:
    """A matrix without names takes the columns as they come, beside those to keep."""
    aside = {*job.keep, *job.partition}
    names = tuple(name for name in schema.names if name not in aside)
    if not names or spec.shape[1] not in (-1, len(names)):
        raise InvalidArgument(
            f"input '{spec.name}' takes {spec.shape[1]} columns; the files have {len(names)} beside those that are "
            f"kept: map {spec.name} to a column of lists, or leave out what is no input"
        )
    return _Input(spec, names, stacked=True)


def passed_on(schema: Any, job: BatchJob, outputs: Sequence[str]) -> list[str]:
    """The columns that are written beside the answers; those that the output is cut by are among them."""
    names = list(dict.fromkeys([*job.keep, *(name for name in job.partition if name not in outputs)]))
    for name in names:
        if name not in schema.names:
            raise InvalidArgument(f"keep: the files have no column '{name}'{_near(name, schema.names)}")
        if name in outputs:
            raise InvalidArgument(f"keep: '{name}' is also an output of the model: rename the column of the files")
        kind = read_as(schema.field(name).type)
        if job.format == "csv" and arrow().types.is_nested(kind):
            raise Unsupported(f"keep: '{name}' contains {kind}, which CSV has no form for")
    return names


def _array(batch: Any, one: _Input) -> Array:
    spec = one.spec
    if not one.stacked:
        return _column(batch, one.columns[0], spec)
    scalar = TensorSpec(name=spec.name, datatype=spec.datatype, shape=(-1,), nullable=spec.nullable)
    found = np.empty((batch.num_rows, len(one.columns)), NUMPY[spec.datatype])
    for place, name in enumerate(one.columns):
        found[:, place] = _column(batch, name, scalar)
    return found


def _column(batch: Any, name: str, spec: TensorSpec) -> Array:
    where = f"column '{name}'"
    return cast_array(array_of(batch.column(batch.schema.get_field_index(name)), name, spec), spec, where)


def _near(name: str, known: Iterable[str]) -> str:
    names = list(known)
    if near := difflib.get_close_matches(name, names, n=1):
        return f"; did you mean '{near[0]}'?"
    return f"; there are {listed(names)}"
