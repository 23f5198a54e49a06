"""What a replica sends to the recorder of its requests: packed off their path, sent without waiting.

Rows that went through the engine come from the batch observer, many at once; requests that failed, and those of more
rows than a batch has, one by one as they end.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import numpy as np

from argosy.protocol.bounds import RECORDED_ID
from argosy.serving.frames import Hello, Orders
from argosy.serving.job import Feeds
from argosy.serving.line import Door
from argosy.serving.model import REQUEST_ID, Call
from argosy.serving.observer import MOST_ROWS, EngineCall, joined
from argosy.serving.pipe import BLOCK_BYTES, Pipe, Requests, Tensor
from argosy.spec.errors import ArgosyError, code_of, table
from argosy.spec.signature import Signature
from argosy.spec.tensor import Array, nbytes
from argosy.store.payloads.record import REQUEST

SECONDS = 0.25
"""Between two tries to reach a recorder; and the longest that a failed request waits to be sent."""
MOST_FAILED = 512
MOST_MESSAGE = 500
"""Characters that are recorded of an error's message."""
CANCELLED = 499
"""For callers that went away; nginx has made it known."""
STATUS = {"ok": 200, "cancelled": CANCELLED} | {code: error.http for code, error in table().items()}


class SingleRequest(NamedTuple):
    """A request that is sent on its own."""

    id: str
    code: str
    latency: int = 0
    time: int = 0
    rows: int = 0
    weight: float = 0.0
    feeds: Feeds = MappingProxyType({})
    outputs: Sequence[Array] = ()
    message: str = ""


class Recording:
    """Records one model of one replica, as the recorder orders it; without orders nothing happens. `most`: the rows of
    a batch.
    """

    def __init__(self, door: Door, hello: Hello, signature: Signature, most: int) -> None:
        self._signature = signature
        self._most = most if signature.batched else 1
        self._types = {spec.name: spec.datatype for spec in signature.inputs}
        self._outputs = [(spec.name, spec.datatype) for spec in signature.outputs]
        specs = (*signature.inputs, *signature.outputs)
        self._one_shape = all(-1 not in spec.shape[signature.batched :] and not spec.optional for spec in specs)
        self._orders = Orders()
        self._since = 0
        self._rng = np.random.default_rng()
        self._failures: list[SingleRequest] = []
        self._late: list[EngineCall] = []
        self._pipe = Pipe(door, hello, self._order)
        self._loop = asyncio.get_running_loop()
        self._missed = 0
        self._timer = self._loop.call_soon(self._tick)

    @property
    def sent(self) -> int:
        """Requests for the log that were sent to the recorder."""
        return self._pipe.sent

    @property
    def dropped(self) -> int:
        """Requests for the log that were not."""
        return self._pipe.dropped + self._missed

    def observe(self, calls: Sequence[EngineCall]) -> None:
        """Send what was answered since the orders. What is on its way to its caller waits for the next time, once."""
        late, self._late = self._late, []
        if self._orders.nothing:
            return
        if calls and calls[0].ended < self._since:
            calls = [one for one in calls if one.ended >= self._since]
        if "" in [request.code for request in _requests(calls)]:
            self._late = [one for one in calls if not _answered(one)]
            calls = [one for one in calls if _answered(one)]
        for group in self._groups([*late, *calls]):
            for part in _split(group):
                self._send_group(part)

    def failed(self, request: Call, error: Exception | None) -> None:
        """A request ended without an answer, before or after the engine."""
        one = SingleRequest(request.identity, request.code, request.ns, rows=request.rows, feeds=request.feeds)
        self._add_failure(one, error)

    def refused(self, id: str, error: Exception) -> None:
        """A request could not be decoded."""
        self._add_failure(SingleRequest(id, code_of(error)), error)

    def large(self, request: Call, outputs: Sequence[Array]) -> None:
        """A request of more rows than a batch was answered."""
        if not self._orders.nothing:
            weight = 0.0 if self._orders.sample is None else self._draw(False)
            if weight or self._orders.profiles:
                now = time.time_ns()
                feeds = request.feeds
                one = SingleRequest(request.identity, "ok", request.ns, now, request.rows, weight, feeds, outputs)
                self._send_one(one)

    def close(self) -> None:
        """Send what waits, and disconnect."""
        self._timer.cancel()
        self.observe(())
        self._send_failures()
        self._pipe.close()

    def _order(self, orders: Orders) -> None:
        if self._orders.nothing:
            self._since = time.time_ns()
        self._orders = orders

    def _tick(self) -> None:
        self._send_failures()
        self._pipe.flush()
        self._pipe.connect()
        self._timer = self._loop.call_later(SECONDS, self._tick)

    def _draw(self, always: bool) -> float:
        """1 / the chance of one request to be recorded, or 0."""
        sample = self._orders.sample or 0.0
        if always or sample == 1:
            return 1.0
        return 1 / sample if self._rng.random() < sample else 0.0

    def _draw_all(self, requests: Sequence[Call]) -> Array:
        """`_draw` for each that was answered well."""
        sample, count = self._orders.sample or 0.0, len(requests)
        outcomes = [request.code for request in requests]
        if outcomes.count("ok") == count and sample == 1:
            return np.ones(count)
        good = np.array([outcome == "ok" for outcome in outcomes])
        return (good & (self._rng.random(count) < sample)) / (sample or 1.0)

    def _groups(self, calls: list[EngineCall]) -> Iterable[list[EngineCall]]:
        """Engine calls that fit into one block: all, where their shapes are always the same."""
        if self._one_shape:
            return [calls] if calls else []
        groups: dict[Any, list[EngineCall]] = {}
        inner = slice(1 if self._signature.batched else 0, None)
        for one in calls:
            outputs = tuple(array.shape[inner] for array in one.outputs)
            groups.setdefault((tuple((n, a.shape[inner]) for n, a in one.feeds.items()), outputs), []).append(one)
        return groups.values()

    def _send_group(self, group: list[EngineCall]) -> None:
        requests = _requests(group)
        weights = self._draw_all(requests)
        if not self._orders.profiles and not weights.all():
            sizes = [len(one.jobs) for one in group]
            drawn = [bool(part.any()) for part in np.split(weights, np.cumsum(sizes)[:-1])]
            group = [one for one, good in zip(group, drawn, strict=True) if good]
            requests, weights = _requests(group), weights[np.repeat(drawn, sizes)]
            if not requests:
                return
        table = np.empty(len(requests), REQUEST)
        table["rows"] = rows = np.array([request.rows for request in requests])
        table["latency"] = took = np.array([request.ns for request in requests])
        table["time"] = np.repeat([one.ended for one in group], [len(one.jobs) for one in group]) - took
        table["weight"] = weights
        table["code"] = STATUS["ok"]
        tensors = self._tensors(group)
        wanted = (rows <= self._most) & (rows > 0)
        if not self._orders.profiles:
            wanted &= weights > 0
        if not wanted.all():
            for request, weight in zip(requests, weights.tolist(), strict=True):
                if weight and not request.rows:
                    self._send_one(SingleRequest(request.identity, "ok", request.ns, time.time_ns(), weight=weight))
            if rows.max() > self._most:
                rows = np.array([job.rows for one in group for job in one.jobs])
            mask = np.repeat(wanted, rows)
            tensors = [(*tensor[:3], tensor[3][mask]) for tensor in tensors]
            requests = [request for request, good in zip(requests, wanted.tolist(), strict=True) if good]
            table, weights = table[wanted], weights[wanted]
        if requests:
            ids = [(request.id or request.headers.get(REQUEST_ID, b""))[:RECORDED_ID] for request in requests]
            if not weights.all():
                ids = [id if weight else "" for id, weight in zip(ids, weights.tolist(), strict=True)]
            self._pipe.add(Requests(table, ids, tensors))

    def _tensors(self, group: Sequence[EngineCall | SingleRequest]) -> list[Tensor]:
        join = joined if self._signature.batched else np.stack
        feeds = [one.feeds for one in group]
        found: list[Tensor] = [
            ("input", name, self._types[name], join([each[name] for each in feeds])) for name in feeds[0]
        ]
        outputs = zip(*[one.outputs for one in group], strict=True)
        for (name, datatype), arrays in zip(self._outputs, outputs, strict=False):
            found.append(("output", name, datatype, join(arrays)))
        return found

    def _add_failure(self, one: SingleRequest, error: Exception | None) -> None:
        if self._orders.sample is None or not (weight := self._draw(self._orders.errors)):
            return
        if len(self._failures) >= MOST_FAILED:
            self._missed += 1
        else:
            message = error.message[:MOST_MESSAGE] if isinstance(error, ArgosyError) else ""
            self._failures.append(one._replace(weight=weight, time=time.time_ns(), message=message))

    def _send_failures(self) -> None:
        failures, self._failures = self._failures, []
        for one in failures:
            self._send_one(one)

    def _send_one(self, one: SingleRequest) -> None:
        table = np.zeros(1, REQUEST)
        table[0] = (one.time - one.latency, one.latency, one.weight, one.rows, STATUS.get(one.code, 500))
        tensors = self._tensors([one]) if one.rows else []
        self._pipe.add(Requests(table, [one.id], tensors, [] if one.code == "ok" else [(one.code, one.message)]))


def _requests(calls: Sequence[EngineCall]) -> list[Call]:
    """The requests of engine calls, in the order of their rows."""
    return cast("list[Call]", [job.call for one in calls for job in one.jobs])


def _answered(one: EngineCall) -> bool:
    """Whether all its requests have their answers."""
    return all(request.code for request in _requests([one]))


def _split(group: list[EngineCall]) -> Iterable[list[EngineCall]]:
    """Engine calls of one shape, in blocks of a size that passes."""
    first = group[0]
    size = sum(map(nbytes, (*first.feeds.values(), *first.outputs)))
    most = BLOCK_BYTES * sum(job.rows for job in first.jobs) // max(1, size)
    if most >= MOST_ROWS:
        return [group]
    parts: list[list[EngineCall]] = [[]]
    filled = 0
    for one in group:
        rows = sum(job.rows for job in one.jobs)
        if parts[-1] and filled + rows > most:
            parts.append([])
            filled = 0
        parts[-1].append(one)
        filled += rows
    return parts
