"""The rows of a job for a language model: which request each becomes.

A line of JSON is a request itself, or one of OpenAI's batch files, which has it under `body`. With a template, rows of
any format become requests: `{column}` in it is replaced by the row's value.
"""

import re
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

from argosy.batch import columns
from argosy.batch.answers import Answers
from argosy.batch.columns import Mapping
from argosy.batch.sizes import Sizes
from argosy.batch.source.shape import LOOSE, ROW, arrow
from argosy.batch.tensors import read_as
from argosy.batch.wire import Slots
from argosy.engines.language.ask import Ask
from argosy.engines.language.base import fitted
from argosy.engines.language.process import started
from argosy.engines.language.rows import AHEAD, SIGNATURE, LanguageRows, over
from argosy.packaging.language.engine import replay
from argosy.packaging.package import Package
from argosy.process import cores as machine
from argosy.spec.address import Address
from argosy.spec.batch import BatchJob
from argosy.spec.errors import InvalidArgument, Unavailable
from argosy.spec.signature import Signature
from argosy.spec.tensor import Array

_PLACE = re.compile(r"\{(\w+)\}")
TOGETHER = 100
"""Rows that wait for idle slots, or have them, at once."""
AGAIN = 1.0
"""Seconds after which a platform is asked again that does not answer."""
FOREVER = 1e8
"""Seconds that idle slots may be waited for."""
_OBJECTS = b"json"
Json = dict[str, Any]


class RequestMapping(Mapping):
    """As `Mapping`: rows to requests by `make`, answers to rows."""

    def __init__(self, reads: Any, keep: tuple[str, ...], answers: Answers, make: Callable[[Json], Json]) -> None:
        super().__init__((), reads, keep, answers)
        self._make = make

    def feeds(self, batch: Any) -> dict[str, Array]:
        """See `Mapping`. Raises InvalidArgument for a row that is no request."""
        found = np.empty(len(batch), object)
        found[:] = [msgspec.json.encode(self._make(row)) for row in batch.to_pylist()]
        return {"request": found}

    def unused(self, schema: Any) -> list[str]:
        return [] if ROW in self.reads.names else super().unused(schema)

    def check(self, schema: Any, url: str) -> None:
        whole = ROW in self.reads.names
        super().check(schema.append(self.reads.field(ROW)) if whole else schema, url)


def plan(signature: Signature, schema: Any, job: BatchJob) -> Mapping:
    """How the columns of a file become what a model is asked; for all but language models `columns.plan`. Raises
    InvalidArgument, Unsupported."""
    if signature != SIGNATURE:
        if job.template:
            raise InvalidArgument("the batch job: template is for language models, and the model is none")
        return columns.plan(signature, schema, job)
    pa, loose = arrow(), LOOSE in (schema.metadata or {})
    answers = Answers(signature.chosen(job.outputs), job.format)
    keep = columns.passed_on(schema, job, [field.name for field in answers.fields])
    if job.template:
        skeleton = _skeleton(job.template)
        named = list(dict.fromkeys(_PLACE.findall(job.template)))
        if absent := [name for name in named if name not in schema.names]:
            raise InvalidArgument(f"template: the files have no column '{absent[0]}'; there are {schema.names}"[:500])
        text = loose and schema.metadata[LOOSE] != _OBJECTS
        kinds = {name: pa.string() if text else read_as(schema.field(name).type) for name in (*named, *keep)}
        reads = pa.schema([pa.field(name, kind) for name, kind in kinds.items()], schema.metadata)
        return RequestMapping(reads, tuple(keep), answers, lambda row: _filled(skeleton, row))
    if not loose or schema.metadata[LOOSE] != _OBJECTS:
        raise InvalidArgument("give a template, as in --template 'Translate: {text}', or JSON lines of requests")
    fields = [pa.field(name, read_as(schema.field(name).type)) for name in keep]
    reads = pa.schema([*fields, pa.field(ROW, pa.string())], metadata=schema.metadata)
    return RequestMapping(reads, tuple(keep), answers, lambda row: _request(row[ROW]))


def in_idle_slots(slots: Slots) -> LanguageRows:
    """Rows for slots that are idle elsewhere. A platform that starts anew is asked again."""
    ask = Ask(Address(path=slots.socket), slots.asked, timeout=FOREVER)

    def send(path: str, body: Json) -> Json:
        while True:
            try:
                return ask.send(path, {**body, "model": slots.asked})
            except Unavailable:
                time.sleep(AGAIN)

    return LanguageRows(send, TOGETHER, lambda _: None)


def sizes(job: BatchJob, cores: int) -> Sizes:
    """One engine with all cores, and rows enough that all of its slots are in use; without one, one process."""
    if job.idle:
        return Sizes(job.workers or 1, 1, job.batch_size or TOGETHER)
    return Sizes(job.workers or 1, job.threads or cores, job.batch_size or AHEAD * job.language.slots)


@contextmanager
def engine(package: Package, job: BatchJob, threads: int) -> Generator[tuple[LanguageRows, float]]:
    """The engine of a package, which ends with the block, and how far its golden examples were off. Raises
    GoldenMismatch, MissingExtra, BadPackage, InvalidArgument where it does not fit into the memory, Unsupported."""
    manifest, language = package.manifest, job.language
    if manifest.language is not None and (memory := machine.memory()):
        language = fitted(language, manifest.language, memory, "the memory of this machine")
    with (
        tempfile.TemporaryDirectory(prefix="argosy-") as folder,
        started(manifest.engine, package.weights, language, threads, Path(folder)) as server,
    ):
        yield over(server), replay(server, package).gap


def _request(line: str) -> Json:
    row = msgspec.json.decode(line, type=Json)
    body = row.get("body", row)
    if not isinstance(body, dict) or not {"messages", "prompt"} & {*cast("Json", body)}:
        raise InvalidArgument("the row has neither messages nor a prompt")
    return {name: value for name, value in cast("Json", body).items() if name not in ("model", "stream", "custom_id")}


def _skeleton(template: str) -> Json:
    """A request with places: the template's own, where it is one in JSON, else a message of a user."""
    try:
        found = msgspec.json.decode(template, type=Json)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {"messages": [{"role": "user", "content": template}]}
    if not {"messages", "prompt"} & {*found}:
        raise InvalidArgument("template: a request has messages or a prompt")
    return found


def _filled(part: Any, row: Json) -> Any:
    if isinstance(part, str):
        return _PLACE.sub(lambda match: _said(row[match[1]]), part)
    if isinstance(part, list):
        return [_filled(each, row) for each in cast("list[Any]", part)]
    if isinstance(part, dict):
        return {name: _filled(value, row) for name, value in cast("Json", part).items()}
    return part


def _said(value: Any) -> str:
    if value is None:
        raise InvalidArgument("the row lacks a value that the template names")
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
