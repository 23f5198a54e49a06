"""The W3C trace context of one sampled request in a replica, and the batches that the request was in.

Requests that are not sampled have none: for those the model reads one header.
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


class TraceContext:
    """Ids are lower-case hex; `id` is that of the request's span. `batches` has the engine calls, each with the moment
    from which on its rows had waited."""

    __slots__ = ("batches", "error", "id", "parent", "state", "trace")

    def __init__(self, trace: str, parent: str, state: str) -> None:
        self.trace, self.parent, self.state = trace, parent, state
        self.id = f"{random.getrandbits(64) or 1:016x}"
        self.batches: list[tuple[int, TracedBatch]] = []
        self.error = ""


class TracedBatch(NamedTuple):
    """One engine call of a batch, times by the process' clock (ns): from the beginning of merging (`start`) over the
    engine (`called` to `returned`) to the end of splitting (`end`). `contexts` are of the sampled requests in it.
    """

    start: int
    called: int
    returned: int
    end: int
    rows: int
    requests: int
    reason: str
    error: str
    contexts: Sequence[TraceContext]


def begin(headers: Mapping[bytes, bytes]) -> TraceContext | None:
    """The context of a request with these headers; None unless its caller samples it."""
    parent = headers.get(TRACEPARENT)
    if parent is None or len(parent) <= _FLAGS or parent[_FLAGS] not in _ODD:
        return None
    found = _CONTEXT.fullmatch(parent)
    if found is None or not found[1].strip(b"0") or not found[2].strip(b"0"):
        return None
    state = headers.get(TRACESTATE, b"")
    return TraceContext(
        found[1].decode(), found[2].decode(), state.decode("latin-1") if len(state) <= _STATE_BYTES else ""
    )


def add_batch(jobs: "Sequence[Job]", times: tuple[int, int, int, int], reason: str, error: str = "") -> None:
    """Add an engine call to the contexts of those of its jobs that have one. `times` as in `TracedBatch`."""
    sampled = [(job.since, job.call.trace) for job in jobs if job.call is not None and job.call.trace is not None]
    if sampled:
        contexts = [context for _, context in sampled]
        batch = TracedBatch(*times, sum(job.rows for job in jobs), len(jobs), reason, error, contexts)
        for since, context in sampled:
            context.batches.append((since, batch))
