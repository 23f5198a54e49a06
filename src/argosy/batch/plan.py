"""What a job will do, frozen before it does anything: settings, version, input files as they are, fragments."""

import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from argosy import __version__
from argosy.batch.fragment import File, Fragment
from argosy.spec.batch import BatchJob
from argosy.spec.errors import Conflict, InvalidArgument
from argosy.spec.signature import Signature

FORMAT = "1"
"""The version of the layout of `_argosy/`."""
TOGETHER = 16
"""Files that are opened at once."""

RECIPE = ("format", "map", "keep", "partition", "nulls", "on_error")
"""The settings that change what is written, beside the model."""

FIXED = ("model", "inputs", "outputs", "fragment_rows", "template", *RECIPE)
"""The settings that a job keeps when it is resumed; the others may be given anew."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """Which package answers: its digest, and what it was called when the job was planned."""

    digest: str
    name: str
    version: str = ""

    @property
    def ref(self) -> str:
        """`digits:3`, or the name alone."""
        return f"{self.name}:{self.version}" if self.version else self.name


class _Piece(msgspec.Struct, frozen=True, array_like=True):
    """A fragment as it is written: its file by its place in the list of files."""

    file: int
    index: int
    position: tuple[int, ...]
    first: int | None
    rows: int | None
    content: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The manifest of a job. Fragments are in the order of the output. `unused` are the columns of the files that the
    model does not take and nobody keeps."""

    format: str = FORMAT
    job: BatchJob
    model: Model
    planned: float
    files: tuple[File, ...]
    pieces: tuple[_Piece, ...]
    unused: tuple[str, ...] = ()

    @property
    def recipe(self) -> str:
        """The model and the settings that change the output, in hex."""
        settings = [msgspec.to_builtins(getattr(self.job, name)) for name in RECIPE]
        settings += [
            each for each in (self.job.outputs, self.job.template) if each
        ]  # a job begun before has none, and stays as it is
        return hashlib.sha256(msgspec.json.encode([FORMAT, self.model.digest, settings])).hexdigest()

    @property
    def metadata(self) -> dict[str, str]:
        """What every file of the output says of itself, where its format has a place for it. Nothing of it changes from
        one run to the next: equal work gives equal files."""
        return {
            "argosy.model": self.model.name,
            "argosy.digest": self.model.digest,
            "argosy.recipe": self.recipe,
            "argosy.release": __version__,
        }

    def fragments(self) -> list[Fragment]:
        """All of them, in order."""
        return [Fragment(**dict(msgspec.structs.asdict(piece), file=self.files[piece.file])) for piece in self.pieces]


def prepare(job: BatchJob, model: Model, signature: Signature) -> Plan:
    """The plan. Raises NotFound without input, InvalidArgument for files whose columns do not fit the model or each
    other, Unsupported for a model whose answers do not belong to rows.
    """
    from argosy.batch import requests
    from argosy.batch.find import find
    from argosy.batch.source import source

    files = find(job.inputs)
    reader = source(files[0].format)
    mapping = requests.plan(signature, reader.schema(files[0]), job)

    def cut(file: File) -> tuple[list[Fragment], list[str]]:
        schema = reader.schema(file)
        mapping.check(schema, file.url)
        return reader.plan(file, job.fragment_rows), mapping.unused(schema)

    with ThreadPoolExecutor(TOGETHER) as pool:
        found = list(pool.map(cut, files))
    fragments = [fragment for cuts, _ in found for fragment in cuts]
    unused = dict.fromkeys(name for _, names in found for name in names)
    return freeze(job, model, fragments, time.time(), tuple(unused))


def freeze(
    job: BatchJob, model: Model, fragments: Sequence[Fragment], planned: float, unused: tuple[str, ...] = ()
) -> Plan:
    """The plan of a job whose fragments are known; `planned` in seconds since 1970."""
    files = tuple(dict.fromkeys(fragment.file for fragment in fragments))
    if not files:
        raise InvalidArgument(f"there are no rows in {', '.join(job.inputs)[:200]}")
    places = {file: place for place, file in enumerate(files)}
    pieces = tuple(
        _Piece(places[one.file], one.index, one.position, one.first, one.rows, one.content) for one in fragments
    )
    return Plan(job=job, model=model, planned=planned, files=files, pieces=pieces, unused=unused)


def resumed(plan: Plan, job: BatchJob) -> Plan:
    """The plan under the settings of a later run. Raises Conflict naming the first that would make other output."""
    for name in FIXED:
        before, after = getattr(plan.job, name), getattr(job, name)
        if before != after:
            raise Conflict(
                f"the job in {plan.job.output} was begun with {name} = {before!r}, and cannot go on with {after!r}: "
                "leave it as it was, or write to another folder"
            )
    return msgspec.structs.replace(plan, job=job)
