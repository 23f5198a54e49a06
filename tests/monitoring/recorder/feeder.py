"""A recorder as its own process, and what replicas would send it."""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from argosy.serving import frames
from argosy.serving.config import ModelConfig, ReplicaConfig
from argosy.serving.frames import HEAD, Orders
from argosy.serving.line import SocketDoor
from argosy.spec.address import Address
from argosy.spec.recorder import RecordedEndpoint, RecordedReplica, config_file, read_report, recorder_config
from argosy.spec.settings import Home
from argosy.store.durable import say
from argosy.store.payloads.record import REQUEST
from tests.monitoring.recorder import shop

OPEN: list[socket.socket] = []
NUMBERS = itertools.count()


def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait for what another process brings about."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return found


def tell(home: Home, store: str = "", **endpoints: RecordedEndpoint) -> None:
    """What the controller does."""
    say(config_file(home), msgspec.json.encode(replace(recorder_config(home), endpoints=endpoints, store=store)))


@contextlib.contextmanager
def recorder(home: Home) -> Iterator[subprocess.Popen[bytes]]:
    """The process; it is ended in order, unless it is dead by then."""
    begun = time.time()
    with (home.logs / "recorder.log").open("ab") as out:
        argv = [sys.executable, "-m", "argosy.monitoring.recorder", str(home.root)]
        process = subprocess.Popen(argv, stdout=out, stderr=out, env=dict(os.environ))
    try:
        until(lambda: (found := read_report(home)) and found.pid == process.pid and found.started >= begun - 1)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        while OPEN:
            OPEN.pop().close()


def joined(home: Home, config: ReplicaConfig) -> socket.socket:
    """The recorder's connection to a replica of which the controller has written this."""
    path = home.run / f"{next(NUMBERS)}.rec.sock"
    (model,), told = config.models, recorder_config(home)
    about = {"endpoint": model.name, "version": model.version, "package": model.package}
    awaits = RecordedReplica(address=Address(path=str(path)), **about)
    with contextlib.closing(SocketDoor(str(path)).socket) as door:
        door.settimeout(60)
        replicas = told.replicas | {config.replica: awaits}
        say(config_file(home), msgspec.json.encode(replace(told, replicas=replicas)))
        line, _ = door.accept()
    line.settimeout(60)
    return line


class Feeder:
    """One replica's connection."""

    def __init__(self, home: Home, package: Path, replica: str = "r0", version: str = "1") -> None:
        config = ReplicaConfig(
            replica=replica, models=(ModelConfig(name="shop", version=version, package=str(package)),)
        )
        self.line = joined(home, config)
        OPEN.append(self.line)
        self.line.sendall(frames.encode(frames.hello(config, config.models[0])))
        self._numbers = itertools.count()
        self.orders = self.heard()

    def heard(self) -> Orders:
        """The next orders."""
        head, _ = frames.sizes(self.line.recv(HEAD.size, socket.MSG_WAITALL))
        found = frames.read(self.line.recv(head, socket.MSG_WAITALL), b"")
        assert isinstance(found, Orders)
        return found

    def send(
        self, count: int, at: float | None = None, seed: int = 0, prefix: str = "id", weight: float = 1
    ) -> list[str]:
        """Requests of one row each, answered at a time; their ids."""
        table = np.zeros(count, REQUEST)
        table["rows"], table["code"], table["weight"], table["latency"] = 1, 200, weight, 10**6
        table["time"] = int((time.time() if at is None else at) * 1e9)
        ids = [f"{prefix}{next(self._numbers)}" for _ in range(count)]
        values = shop.rows(count, seed)
        answers = shop.answers(values)
        tensors = [("input", s.name, s.datatype, values[s.name]) for s in shop.SIGNATURE.inputs]
        tensors += [("output", s.name, s.datatype, answers[s.name]) for s in shop.SIGNATURE.outputs]
        self.line.sendall(b"".join(frames.encode_block(table, ids, tensors)))
        return ids

    def narrow(self) -> None:
        """Rows with too few features: a frame that is whole and fits no profile, and is not for the log."""
        table = np.zeros(1, REQUEST)
        table["rows"] = 1
        one = np.zeros((1, 2), "f4")
        self.line.sendall(
            b"".join(frames.encode_block(table, [""], [("input", "x", "FP32", one), ("output", "x", "FP32", one)]))
        )
