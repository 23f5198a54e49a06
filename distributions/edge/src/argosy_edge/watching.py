"""What a device keeps of the requests to its models: profiles, and where an update declares it a share of payloads.

It hears of each request in the thread that asked the model, and only takes note of the arrays there; a thread of its
own counts and writes to the spool. What it has not written yet a power cut costs: that is at most `EVERY` seconds of
payloads, and the present minute.
"""

import random
import secrets
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from argosy_edge.clock import Clock
from argosy_edge.errors import AgentError
from argosy_edge.model import EdgeModel
from argosy_edge.profile import Profiler
from argosy_edge.spool import Payload, Spool
from argosy_edge.tensors import Array, Arrays
from argosy_edge.wire import Update

EVERY = 10.0
MOST_HELD = 200
"""Payloads that wait to be written; more are lost."""
MOST_ELEMENTS = 20_000
"""Of all tensors of a request that is kept."""


class Watched(msgspec.Struct, frozen=True):
    """A version: under which digest it is counted, and the share of its requests that is kept."""

    package: str
    payloads: float


class Watching:
    """An observer of the server (`server.Observer`), for the version that serves and the one on trial."""

    def __init__(self, clock: Clock, spool: Spool, chance: Callable[[], float] = random.random) -> None:
        self._clock, self._spool, self._chance = clock, spool, chance
        self._profiler = Profiler(clock)
        self._lock = threading.Lock()
        self._versions: dict[tuple[str, str], Watched] = {}
        self._payloads: list[Payload] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watching", daemon=True)

    def start(self) -> "Watching":
        """Begin to write."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Write what there is, the present minute as well."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self.flush(whole=False)

    def watch(self, update: Update, name: str, version: str, *, alone: bool = False) -> None:
        """Count requests to this version from now on; `alone`: to no other."""
        seen = Watched(update.package, update.payloads)
        with self._lock:
            gone = [each.package for key, each in self._versions.items() if alone and key != (name, version)]
            self._versions = {} if alone else dict(self._versions)
            self._versions[name, version] = seen
        for package in gone:
            if package != seen.package:
                self._profiler.forget(package)
        self._profiler.watch(update.package, update.reference, texts=update.payloads > 0)

    def __call__(self, model: EdgeModel, inputs: Arrays, outputs: Arrays | AgentError, seconds: float) -> None:
        """A request was answered."""
        seen = self._versions.get((model.name, model.version))
        if seen is None or isinstance(outputs, AgentError):
            return
        self._profiler.add(seen.package, inputs, outputs)
        if seen.payloads and self._chance() < seen.payloads:
            self._keep(seen.package, inputs, outputs, seconds)

    def candidate(self, update: Update) -> Callable[[Arrays, Arrays], None]:
        """Hears what a version on trial was asked and answered."""
        return lambda inputs, outputs: self._profiler.add(update.package, inputs, outputs)

    def flush(self, *, whole: bool = True) -> None:
        """Write to the spool what is ready: minutes that are over, unless `whole` is false."""
        with self._lock:
            payloads, self._payloads = self._payloads, []
        self._spool.put("payloads", payloads)
        self._spool.put("profiles", self._profiler.take(whole=whole))

    def _run(self) -> None:
        while not self._ended.wait(EVERY):
            self.flush()

    def _keep(self, package: str, inputs: Arrays, outputs: Arrays, seconds: float) -> None:
        if sum(array.size for array in (*inputs.values(), *outputs.values())) > MOST_ELEMENTS:
            self._spool.lose(1)
            return
        one = Payload(
            boot=self._clock.boot,
            after=self._clock.after(),
            at=self._clock.wall(),
            version=package,
            id=secrets.token_hex(8),
            milliseconds=seconds * 1e3,
            inputs={name: _json(array) for name, array in inputs.items()},
            outputs={name: _json(array) for name, array in outputs.items()},
        )
        with self._lock:
            if len(self._payloads) < MOST_HELD:
                self._payloads.append(one)
                return
        self._spool.lose(1)


def _json(array: Array) -> dict[str, Any]:
    """A tensor as the Open Inference Protocol has it in JSON; the signature says its datatype."""
    values: list[Any] = array.reshape(-1).tolist()
    if array.dtype == object:
        values = [value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in values]
    return {"shape": list(array.shape), "data": values}
