"""The trail of one sampled request through a replica: whose trace it belongs to, and the batches it was in.

Only what is sampled has one. For every other request its model looks at one header.
"""

import random
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from argosy.serving.job import Job

TRACEPARENT = b"traceparent"
TRACESTATE = b"tracestate"
_FLAGS = 54
"""Where the last digit of the flags stands; its lowest bit says that the caller samples."""
_ODD = frozenset(b"13579bdf")
_CONTEXT = re.compile(rb"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")
_STATE_BYTES = 512
"""What W3C asks to be handed on at least."""


class Trail:
    """Ids are lower-case hex; `id` is that of the request's span. `ran` holds the engine calls, each with the moment
    from which on its rows had waited."""

    __slots__ = ("error", "id", "parent", "ran", "state", "trace")

    def __init__(self, trace: str, parent: str, state: str) -> None:
        self.trace, self.parent, self.state = trace, parent, state
        self.id = f"{random.getrandbits(64) or 1:016x}"
        self.ran: list[tuple[int, Ran]] = []
        self.error = ""


class Ran(NamedTuple):
    """One engine call of a batch, times by the process' clock (ns): from the beginning of merging (`start`) over the
    engine (`called` to `returned`) to the end of splitting (`end`). `trails` are of the sampled requests in it.
    """

    start: int
    called: int
    returned: int
    end: int
    rows: int
    requests: int
    reason: str
    error: str
    trails: Sequence[Trail]


def begin(headers: Mapping[bytes, bytes]) -> Trail | None:
    """The trail of a request with these headers; None unless its caller samples it."""
    parent = headers.get(TRACEPARENT)
    if parent is None or len(parent) <= _FLAGS or parent[_FLAGS] not in _ODD:
        return None
    context = _CONTEXT.fullmatch(parent)
    if context is None or not context[1].strip(b"0") or not context[2].strip(b"0"):
        return None
    state = headers.get(TRACESTATE, b"")
    return Trail(
        context[1].decode(), context[2].decode(), state.decode("latin-1") if len(state) <= _STATE_BYTES else ""
    )


def note(jobs: "Sequence[Job]", times: tuple[int, int, int, int], reason: str, error: str = "") -> None:
    """Write an engine call into the trails of those of its jobs that have one. `times` as in `Ran`."""
    sampled = [(job.since, job.origin.trail) for job in jobs if job.origin is not None and job.origin.trail is not None]
    if sampled:
        trails = [trail for _, trail in sampled]
        ran = Ran(*times, sum(job.rows for job in jobs), len(jobs), reason, error, trails)
        for since, trail in sampled:
            trail.ran.append((since, ran))
