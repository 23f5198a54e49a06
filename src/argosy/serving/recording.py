"""What a replica hands to the recorder of its requests: packed off their path, sent without waiting.

Rows that went through the engine come from the tap, many at once; requests that failed, and those of more rows than a
batch has, one by one as they end.
"""

import asyncio
import socket
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from argosy.protocol.bounds import KEPT_ID
from argosy.serving.frames import Hello, Orders
from argosy.serving.job import Feeds
from argosy.serving.model import REQUEST_ID, Call
from argosy.serving.observer import MOST_ROWS, Ran, joined
from argosy.serving.sender import BLOCK_BYTES, Failure, Requests, Sender, Tensor, weigh
from argosy.spec.errors import ArgosyError, table
from argosy.spec.signature import Signature
from argosy.spec.tensor import Array
from argosy.store.payloads.record import REQUEST

SECONDS = 0.25
"""Between two looks for a recorder; and the longest that a failed request waits to be sent."""
MOST_HELD = 512
MOST_MESSAGE = 500
"""Characters that are kept of an error's message."""
CANCELLED = 499
"""For callers that went away; nginx has made it known."""
STATUS = {"ok": 200, "cancelled": CANCELLED} | {code: error.http for code, error in table().items()}


class One(NamedTuple):
    """A request that is sent on its own."""

    id: str
    code: str
    latency: int
    time: int
    rows: int
    weight: float
    feeds: Feeds
    outputs: Sequence[Array]
    message: str = ""


class Recording:
    """Records one model of one replica, as the recorder orders it; without orders nothing happens. `most`: the rows of
    a batch.
    """

    def __init__(self, door: socket.socket, hello: Hello, signature: Signature, most: int) -> None:
        self._signature = signature
        self._most = most if signature.batched else 1
        self._types = {spec.name: spec.datatype for spec in signature.inputs}
        self._outputs = [(spec.name, spec.datatype) for spec in signature.outputs]
        specs = (*signature.inputs, *signature.outputs)
        self._alike = all(-1 not in spec.shape[signature.batched :] and not spec.optional for spec in specs)
        self._orders = Orders()
        self._since = 0
        self._rng = np.random.default_rng()
        self._held: list[One] = []
        self._late: list[Ran] = []
        self._sender = Sender(door, hello, self._hear)
        self._loop = asyncio.get_running_loop()
        self._missed = 0
        self._timer = self._loop.call_soon(self._tick)

    @property
    def sent(self) -> int:
        """Requests for the log that went to the recorder."""
        return self._sender.sent

    @property
    def dropped(self) -> int:
        """Requests for the log that did not."""
        return self._sender.dropped + self._missed

    def look(self, ran: Sequence[Ran]) -> None:
        """Send what was answered since the orders. What is on its way to its caller waits for the next look, once."""
        late, self._late = self._late, []
        if self._orders.nothing:
            return
        if ran and ran[0].ended < self._since:
            ran = [one for one in ran if one.ended >= self._since]
        ran = [one for one in ran if one.outputs is not None]
        if "" in [call.code for call in _calls(ran)]:
            self._late = [one for one in ran if not _told(one)]
            ran = [one for one in ran if _told(one)]
        for group in self._groups([*late, *ran]):
            for part in _split(group):
                self._send_group(part)

    def failed(self, call: Call, code: str, error: Exception | None) -> None:
        """A request ended without an answer, before or after the engine."""
        self._failed(One(call.identity, code, call.ns, 0, call.rows, 0, call.feeds, (), _message(error)))

    def refused(self, id: str, code: str, error: Exception) -> None:
        """A request could not even be read."""
        self._failed(One(id, code, 0, 0, 0, 0, {}, (), _message(error)))

    def large(self, call: Call, outputs: Sequence[Array]) -> None:
        """A request of more rows than a batch was answered."""
        if not self._orders.nothing:
            weight = 0.0 if self._orders.sample is None else self._weight(False)
            if weight or self._orders.profiles:
                one = One(call.identity, "ok", call.ns, time.time_ns(), call.rows, weight, call.feeds, outputs)
                self._send_one(one)

    def close(self) -> None:
        """Send what is held, and let go of the recorder."""
        self._timer.cancel()
        self.look(())
        self._send_held()
        self._sender.close()

    def _hear(self, orders: Orders) -> None:
        if self._orders.nothing:
            self._since = time.time_ns()
        self._orders = orders

    def _tick(self) -> None:
        self._send_held()
        self._sender.flush()
        self._sender.connect()
        self._timer = self._loop.call_later(SECONDS, self._tick)

    def _weight(self, always: bool) -> float:
        sample = self._orders.sample or 0.0
        if always or sample == 1:
            return 1.0
        return 1 / sample if self._rng.random() < sample else 0.0

    def _weights(self, calls: Sequence[Call]) -> Array:
        """1 / the chance of each to be recorded, or 0."""
        sample, count = self._orders.sample or 0.0, len(calls)
        outcomes = [call.code for call in calls]
        if outcomes.count("ok") == count and sample == 1:
            return np.ones(count)
        good = np.array([outcome == "ok" for outcome in outcomes])
        return (good & (self._rng.random(count) < sample)) / (sample or 1.0)

    def _groups(self, ran: list[Ran]) -> Iterable[list[Ran]]:
        """Engine calls that fit into one block: as many as there are, where their shapes are always the same."""
        if self._alike:
            return [ran] if ran else []
        groups: dict[Any, list[Ran]] = {}
        inner = slice(1 if self._signature.batched else 0, None)
        for one in ran:
            outputs = tuple(array.shape[inner] for array in one.outputs or ())
            groups.setdefault((tuple((n, a.shape[inner]) for n, a in one.feeds.items()), outputs), []).append(one)
        return groups.values()

    def _send_group(self, group: list[Ran]) -> None:
        calls = _calls(group)
        weights = self._weights(calls)
        if not self._orders.profiles and not weights.all():
            group, calls, weights = _drawn(group, weights)
            if not calls:
                return
        table = np.empty(len(calls), REQUEST)
        table["rows"] = rows = np.array([call.rows for call in calls])
        table["latency"] = took = np.array([call.ns for call in calls])
        ended = np.array([one.ended for one in group])
        table["time"] = (ended if len(calls) == len(group) else ended.repeat([len(one.jobs) for one in group])) - took
        table["weight"] = weights
        table["code"] = STATUS["ok"]
        tensors = self._tensors(group)
        wanted = (rows <= self._most) & (rows > 0)
        if not self._orders.profiles:
            wanted &= weights > 0
        if not wanted.all():
            for call, weight in zip(calls, weights.tolist(), strict=True):
                if weight and not call.rows:
                    self._send_one(One(call.identity, "ok", call.ns, time.time_ns(), 0, weight, {}, ()))
            if rows.max() > self._most:
                rows = np.array([job.rows for one in group for job in one.jobs])
            mask = np.repeat(wanted, rows)
            tensors = [_cut(tensor, mask) for tensor in tensors]
            calls = [call for call, good in zip(calls, wanted.tolist(), strict=True) if good]
            table, weights = table[wanted], weights[wanted]
        if calls:
            ids = [(call.id or call.headers.get(REQUEST_ID, b""))[:KEPT_ID] for call in calls]
            if not weights.all():
                ids = [id if weight else "" for id, weight in zip(ids, weights.tolist(), strict=True)]
            self._sender.add(Requests(table, ids, tensors))

    def _tensors(self, group: Sequence[Ran | One]) -> list[Tensor]:
        feeds = [one.feeds for one in group]
        found: list[Tensor] = [
            ("input", name, self._types[name], self._join([each[name] for each in feeds])) for name in feeds[0]
        ]
        outputs = zip(*[one.outputs or () for one in group], strict=True)
        for (name, datatype), arrays in zip(self._outputs, outputs, strict=False):
            found.append(("output", name, datatype, self._join(arrays)))
        return found

    def _join(self, arrays: Sequence[Array]) -> Array:
        if not self._signature.batched:
            return np.stack(arrays)
        return joined(arrays)

    def _failed(self, one: One) -> None:
        if self._orders.sample is None or not (weight := self._weight(self._orders.errors)):
            return
        if len(self._held) >= MOST_HELD:
            self._missed += 1
        else:
            self._held.append(one._replace(weight=weight, time=time.time_ns()))

    def _send_held(self) -> None:
        held, self._held = self._held, []
        for one in held:
            self._send_one(one)

    def _send_one(self, one: One) -> None:
        table = np.zeros(1, REQUEST)
        table[0] = (one.time - one.latency, one.latency, one.weight, one.rows, STATUS.get(one.code, 500))
        tensors = self._tensors([one]) if one.rows else []
        failures: list[Failure] = [] if one.code == "ok" else [(one.code, one.message)]
        self._sender.add(Requests(table, [one.id], tensors, failures))


def _message(error: Exception | None) -> str:
    """What the caller was told; of a bug nothing."""
    return error.message[:MOST_MESSAGE] if isinstance(error, ArgosyError) else ""


def _calls(ran: Sequence[Ran]) -> list[Call]:
    """The requests of engine calls, in the order of their rows."""
    return cast("list[Call]", [job.origin for one in ran for job in one.jobs])


def _told(one: Ran) -> bool:
    """Whether all its requests have their answers."""
    return all(call.code for call in _calls([one]))


def _drawn(group: list[Ran], weights: Array) -> tuple[list[Ran], list[Call], Array]:
    """Those engine calls with a request that is to be recorded."""
    sizes = [len(one.jobs) for one in group]
    wanted = [bool(part.any()) for part in np.split(weights, np.cumsum(sizes)[:-1])]
    kept = [one for one, good in zip(group, wanted, strict=True) if good]
    return kept, _calls(kept), weights[np.repeat(wanted, sizes)]


def _split(group: list[Ran]) -> Iterable[list[Ran]]:
    """Engine calls of one shape, in blocks of a size that passes."""
    first = group[0]
    size = sum(map(weigh, (*first.feeds.values(), *(first.outputs or ()))))
    most = BLOCK_BYTES * sum(job.rows for job in first.jobs) // max(1, size)
    if most >= MOST_ROWS:
        return [group]
    parts: list[list[Ran]] = [[]]
    held = 0
    for one in group:
        rows = sum(job.rows for job in one.jobs)
        if parts[-1] and held + rows > most:
            parts.append([])
            held = 0
        parts[-1].append(one)
        held += rows
    return parts


def _cut(tensor: Tensor, mask: Array) -> Tensor:
    side, name, datatype, array = tensor
    return side, name, datatype, array[mask]
