"""What a user submits to the platform: a batch job, once or by a schedule."""

import re
from datetime import UTC, datetime

import msgspec

from argosy.spec.batch import BatchJob
from argosy.spec.endpoint import check_name
from argosy.spec.errors import InvalidArgument

PLACE = re.compile(r"\{(\w*)\}")
KNOWN = ("date", "time")


class Submission(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A batch job under a name of its own, run by the platform.

    With a `schedule` (five fields of cron, in `timezone`) it runs at each of its moments. Inputs and output may then
    hold `{date}` (2026-01-31) and `{time}` (20260131T023000) of that moment in this time zone; the output has to, so
    that every run has a place of its own.
    """

    name: str
    batch: BatchJob
    schedule: str = ""
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        check_name(self.name, "job name")
        for text in (self.batch.output, *self.batch.inputs):
            if odd := [found for found in PLACE.findall(text) if found not in KNOWN and self.schedule]:
                raise InvalidArgument(f"job '{self.name}': '{{{odd[0]}}}' is unknown; there are {{date}} and {{time}}")
        if self.schedule and not any(f"{{{each}}}" in self.batch.output for each in KNOWN):
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
    values = {"date": f"{moment:%Y-%m-%d}", "time": f"{moment:%Y%m%dT%H%M%S}"}

    def filled(text: str) -> str:
        return PLACE.sub(lambda found: values[found[1]], text)

    batch = submission.batch
    inputs = tuple(map(filled, batch.inputs))
    return msgspec.structs.replace(batch, inputs=inputs, output=filled(batch.output))
