"""What a user declares of a batch job: which model answers which files, how answers are written, and when it runs."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta, field

from argosy.spec import secret
from argosy.spec.endpoint import check_name
from argosy.spec.errors import InvalidArgument
from argosy.spec.language import Language
from argosy.spec.strict import Amount, Declaration, repeated, require

Format = Literal["parquet", "arrow", "csv", "jsonl"]
OnError = Literal["fail", "skip", "quarantine"]
Where = Literal["local", "ray"]

PATIENCE = 1800.0
"""Seconds without a report of a worker, unless the job says otherwise."""
_PLACE = re.compile(r"\{(\w*)\}")
_KNOWN = ("date", "time")
CALL = 1.0
"""Seconds that a call of the engine may take beside the checkpoint, at least, before a worker is thought to hang."""


class BatchJob(Declaration, frozen=True, kw_only=True):
    """Files in, files out.

    `model` is a reference of the registry, a digest or the path of a package. `inputs` are files, folders and globs,
    here or on S3; `output` is a folder. `map` says which column a model's input or feature is read from, where the
    names differ. `outputs` names those of the model that are written, also those on request; without a name, all that
    are always given. `keep` names columns that are written beside the answers, `partition` columns of the output by
    whose values it is cut into folders `column=value`. `nulls` are words that mean a missing value in CSV, beside the
    empty one. `on_error` says what becomes of a row that cannot be answered.

    Work is cut into fragments of about `fragment_rows` rows, each of which is committed at once. What a fragment has
    answered is safe `checkpoint` seconds later (0: after each engine call): as much is repeated after a kill.
    `batch_size` rows go to the engine at once. 0 for `batch_size`, `workers` (processes) and `threads` (of each one's
    engine) means: found by a short probe. `price` is that of the machine, in any currency per hour.

    A worker that has work and did not report for `patience` seconds (0: for ever) is killed, as one that hangs; it
    counts as one that crashed. It reports every `checkpoint` seconds, after the call at hand.

    The model runs apart from the process that reads and writes, in a sandbox without its environment and without a
    network, unless `env` and `network` are declared as those of an endpoint's `runtime`.

    Of a language model each line of JSON is a request in OpenAI's form, or one of its batch files. With a `template`
    every row becomes one: `{column}` in it stands for the row's value. It is the message of a user, or a whole request
    in JSON. `language` is how its engine runs; as many requests are under way as it has `slots`.

    `idle` names an endpoint: rows of a language model have no engine of their own then, but the slots that replicas of
    the same package there leave idle, and are pushed out first.
    """

    model: str
    inputs: tuple[str, ...]
    output: str
    format: Format = "parquet"
    outputs: tuple[str, ...] = ()
    map: dict[str, str] = field(default_factory=dict[str, str])
    keep: tuple[str, ...] = ()
    partition: tuple[str, ...] = ()
    nulls: tuple[str, ...] = ()
    on_error: OnError = "fail"
    fragment_rows: Annotated[int, Meta(ge=1, le=2**24)] = 262_144
    batch_size: Annotated[int, Meta(ge=0, le=2**20)] = 0
    workers: Annotated[int, Meta(ge=0, le=1024)] = 0
    threads: Annotated[int, Meta(ge=0, le=1024)] = 0
    engine: Where = "local"
    price: Amount = 0.0
    checkpoint: Annotated[float, Meta(ge=0, le=3600)] = 1.0
    patience: Amount = PATIENCE
    env: dict[str, str] = field(default_factory=dict[str, str])
    network: bool = False
    template: str = ""
    language: Language = field(default_factory=Language)
    idle: str = ""

    where: ClassVar[str] = "the batch job: "

    def __post_init__(self) -> None:
        super().__post_init__()
        least = self.checkpoint + CALL
        checks = {
            "names no input": bool(self.inputs),
            "names no output folder": bool(self.output),
            "has no engine of its own with idle: leave out the engine ray": not self.idle or self.engine == "local",
            f"patience must be 0 (for ever) or at least {least:g} seconds: a worker reports every "
            f"{self.checkpoint:g} s (checkpoint), after the call at hand": self.patience == 0 or self.patience >= least,
        }
        require(self.where, checks)
        if self.idle:
            check_name(self.idle, "idle: the endpoint")
        for what, names in (("keep", self.keep), ("partition", self.partition)):
            if double := repeated(names):
                raise InvalidArgument(f"the batch job: {what} names the column '{double[:80]}' twice")
        secret.check_variables(self.env, "env")

    def given(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The variables of the model, with what they refer to. Raises InvalidArgument where that is not set."""
        return secret.variables(self.env, environ, "env")


class Submission(Declaration, frozen=True, kw_only=True):
    """A batch job under a name of its own, run by the platform.

    With a `schedule` (five fields of cron, in `timezone`) it runs at each of its moments. Inputs and output may then
    hold `{date}` (2026-01-31) and `{time}` (20260131T023000) of that moment in this time zone; the output has to, so
    that every run has a place of its own.

    `deadline` seconds after that moment a run is to be done (0: whenever). Until then it works on what is idle for as
    long as that is soon enough, then on its own: with an engine of its own, on cores that it shares with replicas.
    """

    name: str
    batch: BatchJob
    schedule: str = ""
    timezone: str = "UTC"
    deadline: Amount = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name(self.name, "job name")
        for text in (self.batch.output, *self.batch.inputs):
            if odd := [found for found in _PLACE.findall(text) if found not in _KNOWN and self.schedule]:
                raise InvalidArgument(f"job '{self.name}': '{{{odd[0]}}}' is unknown; there are {{date}} and {{time}}")
        if self.schedule and not any(f"{{{each}}}" in self.batch.output for each in _KNOWN):
            raise InvalidArgument(
                f"job '{self.name}': with a schedule, the output needs {{date}} or {{time}} in its path, as in "
                "out/{date}, so that every run has a place of its own"
            )


def at(submission: Submission, due: float) -> BatchJob:
    """The job of the run that is due at this moment (seconds since 1970)."""
    if not submission.schedule:
        return submission.batch
    from zoneinfo import ZoneInfo

    moment = datetime.fromtimestamp(due, UTC).astimezone(ZoneInfo(submission.timezone))
    values = {"{date}": f"{moment:%Y-%m-%d}", "{time}": f"{moment:%Y%m%dT%H%M%S}"}
    texts = [submission.batch.output, *submission.batch.inputs]
    for place, value in values.items():
        texts = [text.replace(place, value) for text in texts]
    return msgspec.structs.replace(submission.batch, inputs=tuple(texts[1:]), output=texts[0])
